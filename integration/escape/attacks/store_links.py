"""Write the store through the environment of a project that lies inside this one.

An environment on disk is hard links: its files are the store's own, and who owns a file may change its mode and
then write it. Every project of the machine would run what is planted there.
Source: link(2), chmod(2).
"""

import os
from pathlib import Path

from attempt import PROJECT, denied, hidden, works

WAYS = ("run", "shell", "hook")
_INNER = "inner"


def prepare(arena):
    from integration.escape.victim import linked_project

    linked_project(arena, f"{arena.folder}/{_INNER}")


def afterwards(arena):
    found = list((arena.place / "cache" / "store-v1").rglob("linked.py"))
    yield "the store holds nothing to look at", not found
    yield "the store's file", any(b"planted" in path.read_bytes() for path in found)


def inside():
    found = list((PROJECT / _INNER / ".venv").rglob("linked.py"))
    works("finding it", lambda: bool(found))
    hidden("a second name of a file of the store", lambda: [p for p in found if p.stat().st_nlink > 1])

    def plant():
        if found[0].stat().st_nlink == 1:
            raise OSError("a file of its own")
        os.chmod(found[0], 0o644)
        found[0].write_text("planted")

    denied("writing into it", plant)
    store = Path(os.path.realpath("/proc/self/exe"))
    works("reading the interpreter", lambda: store.open("rb").read(1))

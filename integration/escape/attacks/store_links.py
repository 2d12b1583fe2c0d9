"""Write the store through the environment of a project that lies inside this one.

An environment on disk is hard links: its files are the store's own, and who owns a file may change its mode and
then write it. Every project of the machine would run what is planted there.
Source: link(2), chmod(2).
"""

import base64
import hashlib
import os
import zipfile
from pathlib import Path

from attempt import PROJECT, denied, hidden, works

WAYS = ("run", "shell", "hook")
_INNER = "inner"


def prepare(arena):
    wheel = arena.place / "outside" / "linked-1.0-py3-none-any.whl"
    members = {
        "linked.py": "X = 1\n",
        "linked-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: linked\nVersion: 1.0\n",
        "linked-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in {**members, "linked-1.0.dist-info/RECORD": _record(members)}.items():
            archive.writestr(name, content)
    os.chmod(wheel, 0o644)
    inner = arena.project / _INNER
    inner.mkdir(exist_ok=True)
    (inner / "pyproject.toml").write_text(
        '[project]\nname = "inner"\nversion = "0"\nrequires-python = ">=3.10"\n'
        f'dependencies = ["linked @ {wheel.as_uri()}"]\n[tool.pypm]\npackage = false\n'
    )
    if arena.user:
        arena_owner = (arena.project / "pyproject.toml").stat()
        for path in (inner, inner / "pyproject.toml"):
            os.chown(path, arena_owner.st_uid, arena_owner.st_gid)
    done = arena.host([*arena.pypm, "sync"], cwd=inner)
    assert done.returncode == 0, done.stdout


def _record(members):
    rows = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in members.items()]
    return "\n".join([*rows, "linked-1.0.dist-info/RECORD,,", ""])


def _digest(content):
    return base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()


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

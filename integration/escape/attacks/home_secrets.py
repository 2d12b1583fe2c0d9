"""Read the caller's home, directly and by every detour that leads to another root.

Keys and tokens in the home are what a malicious package looks for first.
Source: the worms and stealers on public indexes; path_resolution(7).
"""

import os
import sys
from pathlib import Path

from attempt import FACTS, PLACE, PROJECT, denied, hidden, works


def prepare(arena):
    arena.facts(
        secret=str(arena.home / ".ssh" / "id_secret"),
        outside=str(arena.place / "outside" / "secret"),
        place=str(arena.place),
        leading={root: _leading_to_python(Path(root)) for root in ("/home", "/root")},
    )


def _leading_to_python(root):
    """Names in `root` on the way to the interpreter and its packages: they are shown, and so are their parents."""
    shown = {Path(path) for path in (sys.prefix, sys.base_prefix, os.path.realpath(sys.executable))}
    return sorted({path.relative_to(root).parts[0] for path in shown if root in path.parents})


def inside():
    for name in ("secret", "outside"):
        path = FACTS[name]
        denied(f"{name} by its path", lambda path=path: Path(path).read_text())
        for root in (
            "/proc/1/root",
            "/proc/self/root",
            "/proc/1/cwd/../../../../..",
            "/proc/thread-self/root",
        ):
            denied(f"{name} through {root}", lambda root=root, path=path: Path(root + path).read_text())
        denied(f"{name} by ..", lambda path=path: Path("../" * 40 + path[1:]).read_text())
    leading = FACTS["leading"]
    hidden("names in /home", lambda: set(os.listdir("/home")) - {"user", "sandbox", *leading["/home"]})
    hidden("names in /root", lambda: set(os.listdir("/root")) - {*leading["/root"]})
    denied("/etc/shadow", lambda: Path("/etc/shadow").read_text())
    hidden(
        "names beside the project",
        lambda: [
            path
            for path in Path(FACTS["place"]).iterdir()
            if path != PROJECT and not PLACE.is_relative_to(path)
        ],
    )
    works("the project", lambda: (PROJECT / "pyproject.toml").read_text())
    works("a home to write to", lambda: (Path.home() / "x").write_text("x"))

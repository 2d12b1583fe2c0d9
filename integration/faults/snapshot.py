"""What lies on disk, so that two environments or two stores can be compared file by file."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

Snapshot = dict[str, tuple[int, str]]
"""Path to mode, and hash of the content (or where a link leads)."""

_UNFINISHED = re.compile(
    r".*\.(part|part\.json|tmp)|\..*\.[0-9a-f]{8}|[0-9a-f]{64}-[^.]+\.[0-9a-f]{8}|[0-9a-f]{16}\.[0-9a-f]{8}"
)


def snapshot(folder: Path, *, bytecode: bool = True) -> Snapshot:
    """Return every file, link and folder below `folder`; empty when it does not exist.

    The bytecode of peers holds the time of the installation; `bytecode=False` leaves it out.
    """
    found: Snapshot = {}
    pending = [folder] if folder.is_dir() else []
    while pending:
        for entry in os.scandir(pending.pop()):
            path, name = Path(entry.path), os.path.relpath(entry.path, folder)
            if not bytecode and (path.suffix == ".pyc" or path.name == "__pycache__"):
                continue
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                found[name] = (status.st_mode, "")
                pending.append(path)
            elif stat.S_ISLNK(status.st_mode):
                found[name] = (stat.S_IFLNK, os.fspath(path.readlink()))
            else:
                found[name] = (status.st_mode, hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def trees(cache: Path) -> Snapshot:
    """Return the trees of pypm's store, manifests included."""
    found = snapshot(cache / "store-v1")
    return {name: fact for name, fact in found.items() if re.match(r"[0-9a-f]{2}/.", name)}


def unfinished(cache: Path, project: Path) -> list[str]:
    """Return what only a killed process leaves: scratch folders, `.part` files, staged environments."""
    found = [f"{project.name}/{path.name}" for path in project.iterdir() if path.name.startswith(".venv.")]
    if (cache / "scratch").is_dir():
        found += [f"scratch/{path.name}" for path in (cache / "scratch").iterdir()]
    for bucket in ("wheels", "store-v1", "environments-v1", "index-v1"):
        for folder, folders, files in os.walk(cache / bucket):
            if folder.count(os.sep) - os.fspath(cache).count(os.sep) > 3:
                folders.clear()  # Inside a tree: that is what `trees` compares.
            found += [f"{bucket}/{name}" for name in (*folders, *files) if _UNFINISHED.fullmatch(name)]
    return found


def difference(found: Snapshot, wanted: Snapshot) -> str:
    """Say in a few words how two snapshots differ; empty when they do not."""
    names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    if not names:
        return ""
    first = names[0]
    how = "missing" if first not in found else "too much" if first not in wanted else "different"
    return f"{len(names)} differ, `{first}` is {how}"

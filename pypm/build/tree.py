"""A source tree as a build sees it: a copy, so that whatever a backend writes is thrown away with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pypm.build.system import read_regular_file
from pypm.files import storage_errors, write_atomically
from pypm.isolation import BUILD_SOURCE
from pypm.model.project import BuildSystem

EARLIEST_EPOCH = 315532800
"""1980-01-01T00:00:00Z, the first date that a zip entry can hold; for trees whose times mean nothing."""

_LEFT_OUT = frozenset({"__pycache__", ".venv", "node_modules", ".tox", ".nox", ".git"})
"""Folders that are not copied, by name; besides them whatever is marked as a cache or an environment.
A `.git` at the root is mounted read-only instead: versions come from its tags, and it can be large."""

_COMPILED = (".so", ".pyd", ".dylib")
_BUILD_FOLDERS = ("build/", "dist/")
"""Where backends keep what they make on the way; the results lie beside the sources."""
_LARGEST_MODULE_BYTES = 1 << 30

_MARKS = ("CACHEDIR.TAG", "pyvenv.cfg")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """What is built, and how."""

    name: str
    """What messages call it: `python-prctl 1.8.1`, `the project`."""
    root: Path
    """On this machine; read, never written."""
    system: BuildSystem
    epoch: int = EARLIEST_EPOCH
    """`SOURCE_DATE_EPOCH`, seconds: the newest file of an sdist, or the constant for a working tree."""
    location: Path = BUILD_SOURCE
    """Where the copy appears inside. An editable build needs the real place: the wheel points at it."""

    @property
    def repository(self) -> Path | None:
        """The tree's own git folder, for backends that take the version from tags."""
        folder = self.root / ".git"
        return folder if folder.is_dir() and not folder.is_symlink() else None


def copy_tree(source: Path, target: Path) -> None:
    """Copy a source tree with its times and links; caches, environments, sockets and devices stay behind.

    Links stay links: inside the sandbox one that leads out of the tree leads nowhere.

    Raises:
        StorageError: the tree cannot be read or there is no space for the copy.
    """
    with storage_errors(f"copy the source tree `{source}`"):
        target.mkdir(parents=True)
        for entry, path in _walk(source):
            place = target / path
            if entry.is_symlink():
                place.symlink_to(Path(entry.path).readlink())
            elif entry.is_dir():
                place.mkdir()
            else:
                shutil.copy2(entry.path, place, follow_symlinks=False)


def copied_files(source: Path) -> Iterator[str]:
    """List the regular files that `copy_tree` copies, relative to the tree, sorted within each folder."""
    with storage_errors(f"read the source tree `{source}`"):
        for entry, path in _walk(source):
            if entry.is_file(follow_symlinks=False):
                yield path


def take_compiled(copy: Path, root: Path) -> tuple[Path, ...]:
    """Bring extension modules that a build put beside its sources from the copy into the tree; return them.

    An editable wheel of a compiled project points at them there, so without them it could not be imported.
    It is the one thing that a build writes into a working tree: regular files with the suffix of an extension
    module, never through a link, never in place of anything but a regular file.

    Raises:
        StorageError: the disk refused.
    """
    taken: list[Path] = []
    for path in copied_files(copy):
        place = root / path
        if not path.endswith(_COMPILED) or path.startswith(_BUILD_FOLDERS) or not _is_plain(root, place):
            continue
        content = read_regular_file(copy / path, largest_bytes=_LARGEST_MODULE_BYTES)
        if content is not None and not (place.is_file() and place.read_bytes() == content):
            write_atomically(place, content, mode=0o755)
            taken.append(place)
    return tuple(taken)


def _is_plain(root: Path, place: Path) -> bool:
    """Whether a file can be written here without following a link or replacing something else."""
    folders = [folder for folder in place.parents if folder.is_relative_to(root)]
    if any(folder.is_symlink() or not folder.is_dir() for folder in folders):
        return False
    return not os.path.lexists(place) or (place.is_file() and not place.is_symlink())


def _walk(source: Path) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Give each file, link and folder that belongs to the tree, a folder before what lies in it.

    Without recursion: a hostile tree can be deeper than the interpreter's stack.
    """
    pending = [""]
    while pending:
        below = pending.pop()
        with os.scandir(source / below) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            path = f"{below}{entry.name}"
            if entry.is_symlink() or entry.is_file():
                yield entry, path
            elif entry.is_dir() and entry.name not in _LEFT_OUT and not _is_marked(Path(entry.path)):
                yield entry, path
                pending.append(f"{path}/")


def _is_marked(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in _MARKS)

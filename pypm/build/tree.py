"""A source tree as a build sees it: a copy, so that whatever a backend writes is thrown away with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pypm.files import storage_errors
from pypm.isolation import BUILD_SOURCE
from pypm.model.project import BuildSystem

EARLIEST_EPOCH = 315532800
"""1980-01-01T00:00:00Z, the first date that a zip entry can hold; for trees whose times mean nothing."""

_LEFT_OUT = frozenset({"__pycache__", ".venv", "node_modules", ".tox", ".nox", ".git"})
"""Folders that are not copied, by name; besides them whatever is marked as a cache or an environment.
A `.git` at the root is mounted read-only instead: versions come from its tags, and it can be large."""

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


def _walk(source: Path, below: str = "") -> Iterator[tuple[os.DirEntry[str], str]]:
    """Give each file, link and folder that belongs to the tree, a folder before what lies in it."""
    with os.scandir(source / below) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = f"{below}{entry.name}"
        if entry.is_symlink() or entry.is_file():
            yield entry, path
        elif entry.is_dir() and entry.name not in _LEFT_OUT and not _is_marked(Path(entry.path)):
            yield entry, path
            yield from _walk(source, f"{path}/")


def _is_marked(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in _MARKS)

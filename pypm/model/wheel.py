"""A wheel that lies unpacked, verified and compiled in the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from pypm.model.artifact import Sha256

if TYPE_CHECKING:
    # Importing `packaging.utils` costs 25 ms, and linking or mounting stored wheels needs the name only.
    from packaging.utils import NormalizedName


class ManifestEntry(Struct, frozen=True, kw_only=True):
    """One file of a stored tree."""

    path: str
    """Posix, relative to the tree's `prefix/` folder; `../scripts/NAME` for what lies in `scripts/`."""
    mode: int
    """Permission bits: 0o444 or 0o555."""
    size_bytes: int
    sha256: Sha256
    derived: bool = False
    """Made by pypm (bytecode, INSTALLER, RECORD), not part of the wheel and not of its Merkle root."""
    archive_path: str = ""
    """The file's name in the wheel, which is its Merkle leaf's path; empty for derived files."""


class EntryPoint(Struct, frozen=True, kw_only=True):
    """A console or GUI script of a wheel."""

    name: str
    module: str
    attribute: str
    gui: bool = False


class StoredWheel(Struct, frozen=True, kw_only=True):
    """A tree of the store. `prefix/` is laid out like a virtual environment: it can be an overlay layer."""

    name: NormalizedName
    version: str
    sha256: Sha256
    """Of the archive it came from."""
    merkle_root: Sha256
    tree: Path
    """`<store>/<sha256[:2]>/<sha256>-<cache_tag>`; holds `prefix/`, `scripts/`, `manifest`."""
    entry_points: tuple[EntryPoint, ...] = ()
    scripts: tuple[str, ...] = ()
    """Names in `scripts/`: `.data/scripts` files whose `#!python` line is rewritten for each environment."""
    startup_code: tuple[str, ...] = ()
    """Paths below `prefix/` that run without being asked for: `.pth` files, `sitecustomize`, and programs
    named like a tool of the system."""
    dist_info: str
    """Folder name of the `.dist-info` below site-packages."""

    @property
    def prefix(self) -> Path:
        return self.tree / "prefix"

"""Check what a worker says it has unpacked against what lies on disk, and describe it as a manifest.

The worker ran foreign bytes through zlib and Python's compiler; its answer is input like any other. Names
are parsed again, every file is looked at, and anything on disk that was not announced is refused.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import NormalizedName, canonicalize_name, canonicalize_version

from pypm.codec.merkle import wheel_leaf, wheel_root
from pypm.codec.record import RecordRow, dump_record
from pypm.digest import sha256_hex
from pypm.errors import IntegrityError
from pypm.files import storage_errors
from pypm.model.artifact import Sha256
from pypm.model.wheel import EntryPoint, ManifestEntry
from pypm.store.unpacker import malformed

_SHA256 = re.compile(r"[0-9a-f]{64}")
_INSTALLER = b"pypm\n"
_ROOTS = ("prefix", "scripts")
_MAX_DEPTH = 120
"""Each level holds a descriptor open; the unpacker refuses paths of more than a hundred parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the lock says of a wheel."""

    name: NormalizedName
    version: str | None
    """None for a wheel that was built from a tree whose version is dynamic."""
    sha256: Sha256
    merkle_root: Sha256 | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """A worker's answer, parsed."""

    version: str
    dist_info: str
    entries: tuple[ManifestEntry, ...]
    entry_points: tuple[EntryPoint, ...]
    startup_code: tuple[str, ...]

    @property
    def scripts(self) -> tuple[str, ...]:
        """Names in `scripts/`."""
        return tuple(
            entry.path.rpartition("/")[2] for entry in self.entries if entry.path.startswith("../scripts/")
        )


def parse_answer(answer: Any, expected: Expected, *, subject: str) -> Unpacked:
    """Parse the answer to `unpack` and compare it with the lock.

    Raises:
        IntegrityError: impossible content, or the wheel is another project's or version's.
    """
    try:
        entries = tuple(
            _entry(archive_path, path, mode, size_bytes, sha256)
            for archive_path, path, mode, size_bytes, sha256 in answer["files"]
        )
        unpacked = Unpacked(
            version=str(answer["version"]),
            dist_info=f"{_plain(answer['stem'])}.dist-info",
            entries=entries,
            entry_points=tuple(
                EntryPoint(
                    name=_plain(name), module=_plain(module), attribute=_plain(attribute), gui=bool(gui)
                )
                for name, module, attribute, gui in answer["entry_points"]
            ),
            startup_code=tuple(_plain(path) for path in answer["startup"]),
        )
        named = (str(answer["name"]), unpacked.version), tuple(str(answer["stem"]).rsplit("-", 1))
    except (KeyError, TypeError, ValueError) as error:
        raise malformed(subject, f"{type(error).__name__}: {error}") from error
    for name, version in named:
        _check_name(name, version, expected, subject)
    return unpacked


def _check_name(name: str, version: str, expected: Expected, subject: str) -> None:
    if canonicalize_name(name) != expected.name:
        raise IntegrityError(
            f"`{subject}` holds the project `{name}`, not `{expected.name}`", reference="wrong-project"
        )
    if expected.version is not None and _version_key(version) != _version_key(expected.version):
        raise IntegrityError(
            f"`{subject}` holds version `{version}` of `{expected.name}`, not `{expected.version}`",
            reference="wrong-version",
        )


def _version_key(version: str) -> str:
    # In file names a local version's `+` and separators may be written as `_`.
    return canonicalize_version(version.replace("_", "+", 1) if "+" not in version else version)


def _entry(archive_path: Any, path: Any, mode: Any, size_bytes: Any, sha256: Any) -> ManifestEntry:
    top, _, below = _plain(path).partition("/")
    if top not in _ROOTS or not below or (top == "scripts" and "/" in below):
        raise ValueError(f"`{path}` lies outside the tree")
    if mode not in (0o444, 0o555) or type(size_bytes) is not int or size_bytes < 0:
        raise ValueError(f"`{path}` has mode {mode} and size {size_bytes}")
    return ManifestEntry(
        path=below if top == "prefix" else f"../scripts/{below}",
        mode=mode,
        size_bytes=size_bytes,
        sha256=_sha256(sha256),
        archive_path=_plain(archive_path),
    )


def _sha256(text: Any) -> Sha256:
    if not isinstance(text, str) or not _SHA256.fullmatch(text):
        raise ValueError(f"`{text}` is not a digest")
    return Sha256(text)


def _plain(path: Any) -> str:
    """Return a relative path without anything that could leave its folder or a manifest's line."""
    if not isinstance(path, str) or any(ord(character) < 32 for character in path):
        raise ValueError(f"{path!r} is not a plain path")
    if "\\" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError(f"`{path}` is not a plain relative path")
    return path


def sources(unpacked: Unpacked, site_packages: str) -> list[tuple[str, int]]:
    """Return (path below staging, size) of the modules to compile.

    The tests that many wheels bring along are a third of all sources and are hardly ever imported. They are
    left to the interpreter, which compiles what it imports where it finds no bytecode.
    """
    return [
        (f"prefix/{entry.path}", entry.size_bytes)
        for entry in unpacked.entries
        if entry.path.endswith(".py")
        and entry.path.startswith(site_packages + "/")
        and "/tests/" not in entry.path
    ]


def parse_compiled(answer: Iterable[Any], unpacked: Unpacked, *, subject: str) -> tuple[ManifestEntry, ...]:
    """Parse the answers to `compile`: bytecode beside a source of the wheel, and of no path that the wheel
    has."""
    taken = {entry.path for entry in unpacked.entries}
    entries = []
    try:
        for path, size_bytes, sha256 in answer:
            below = _bytecode_path(path, taken)
            taken.add(below)
            entries.append(
                ManifestEntry(
                    path=below, mode=0o444, size_bytes=int(size_bytes), sha256=_sha256(sha256), derived=True
                )
            )
    except (TypeError, ValueError) as error:
        raise malformed(subject, str(error)) from error
    return tuple(entries)


def _bytecode_path(path: Any, taken: set[str]) -> str:
    below = _plain(path).removeprefix("prefix/")
    folder, _, name = below.rpartition("/")
    package, _, cache = folder.rpartition("/")
    # `NAME.TAG.pyc`, where the name of a module file may itself have dots.
    source = f"{package}/{name.removesuffix('.pyc').rpartition('.')[0]}.py"
    if cache != "__pycache__" or not name.endswith(".pyc") or source not in taken or below in taken:
        raise ValueError(f"`{path}` is not bytecode of the wheel")
    return below


def merkle_root(unpacked: Unpacked, expected: Expected, *, subject: str) -> Sha256:
    """Return the root over the unpacked files and compare it with the lock's, where the lock has one.

    Raises:
        IntegrityError: the lock states another root.
    """
    root = wheel_root(
        wheel_leaf(entry.archive_path, entry.size_bytes, entry.sha256) for entry in unpacked.entries
    )
    if expected.merkle_root not in (None, root):
        raise IntegrityError(
            f"the files of `{subject}` have the Merkle root `{root}`, but the lock states "
            f"`{expected.merkle_root}`",
            reference="merkle-mismatch",
            hint="the lock or the index was tampered with; `pypm lock --refresh` shows what is served now",
        )
    return root


def write_derived(
    tree_fd: int, dist_info: str, entries: tuple[ManifestEntry, ...], mtime_ns: int
) -> tuple[ManifestEntry, ...]:
    """Write INSTALLER and RECORD into `dist_info` (below `prefix/`) of an opened tree; return their entries.

    RECORD is written anew, not copied: it lists where the files are now, the bytecode included, so that
    every tool that reads an environment finds or removes all of them.
    """
    site_packages = dist_info.rpartition("/")[0]
    written = []
    if not any(entry.path == f"{dist_info}/INSTALLER" for entry in entries):
        written.append(_write(tree_fd, f"{dist_info}/INSTALLER", _INSTALLER, mtime_ns))
    rows = [
        RecordRow(
            path=record_path(entry.path, site_packages),
            sha256=None if entry.path.endswith(".pyc") and entry.derived else entry.sha256,
            size_bytes=None if entry.path.endswith(".pyc") and entry.derived else entry.size_bytes,
        )
        for entry in (*entries, *written)
        if not entry.path.startswith("../")
    ]
    rows.append(RecordRow(path=record_path(f"{dist_info}/RECORD", site_packages)))
    content = dump_record(sorted(rows, key=lambda row: row.path))
    written.append(_write(tree_fd, f"{dist_info}/RECORD", content, mtime_ns))
    return tuple(written)


def record_path(path: str, site_packages: str) -> str:
    """Return a path below the environment's root as RECORD writes it: relative to site-packages."""
    if path.startswith(site_packages + "/"):
        return path[len(site_packages) + 1 :]
    return "../" * (site_packages.count("/") + 1) + path


def _write(tree_fd: int, path: str, content: bytes, mtime_ns: int) -> ManifestEntry:
    folder_fd = _open_folder(tree_fd, f"prefix/{path}".rpartition("/")[0])
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(path.rpartition("/")[2], flags, 0o444, dir_fd=folder_fd), "wb") as stream:  # noqa: PTH123
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), 0o444)
            os.utime(stream.fileno(), ns=(mtime_ns, mtime_ns))
    finally:
        os.close(folder_fd)
    return ManifestEntry(
        path=path, mode=0o444, size_bytes=len(content), sha256=sha256_hex(content), derived=True
    )


_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


def open_tree(path: Path) -> int:
    """Open a tree's own folder; an `OSError` when a link stands there."""
    return os.open(path, _FOLDER)


def _open_folder(tree_fd: int, path: str) -> int:
    """Open a folder below a tree, following no link: a worker must not make the host write elsewhere."""
    folder_fd = os.dup(tree_fd)
    for name in path.split("/"):
        try:
            below_fd = os.open(name, _FOLDER, dir_fd=folder_fd)
        finally:
            os.close(folder_fd)
        folder_fd = below_fd
    return folder_fd


def check_tree(tree_fd: int, entries: Iterable[ManifestEntry], mtime_ns: int, *, subject: str) -> None:
    """Compare an opened tree with its entries and make its folders read-only.

    Raises:
        IntegrityError: a file is missing, another is there, or one differs in kind, mode, size or time.
    """
    pending = {
        f"prefix/{entry.path}" if not entry.path.startswith("../") else entry.path[3:]: entry
        for entry in entries
    }
    with storage_errors(f"check what was unpacked of `{subject}`"):
        for path, status in _walk(tree_fd, "", subject):
            entry = pending.pop(path, None)
            if entry is None:
                raise malformed(subject, f"it left `{path}` behind")
            found = (stat.S_IMODE(status.st_mode), status.st_size, status.st_mtime_ns, status.st_nlink)
            if not stat.S_ISREG(status.st_mode) or found != (entry.mode, entry.size_bytes, mtime_ns, 1):
                raise malformed(subject, f"`{path}` is not as it says")
    if pending:
        raise malformed(subject, f"`{min(pending)}` does not exist")


def _walk(folder_fd: int, prefix: str, subject: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield everything that is no folder, by descriptors: links are seen, never followed."""
    if prefix.count("/") > _MAX_DEPTH:
        raise malformed(subject, "it nests folders without end")
    with os.scandir(folder_fd) as found:
        names = [entry.name for entry in found]
    for name in names:
        status = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            yield prefix + name, status
            continue
        below_fd = os.open(name, _FOLDER, dir_fd=folder_fd)
        try:
            yield from _walk(below_fd, f"{prefix}{name}/", subject)
            os.fchmod(below_fd, 0o555)
        finally:
            os.close(below_fd)

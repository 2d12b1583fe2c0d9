"""A source tree as a build sees it: a copy, so that whatever a backend writes is thrown away with it."""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from pypm.build.system import read_regular_file
from pypm.files import storage_errors
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

_BY_DESCRIPTOR = os.scandir in os.supports_fd and os.open in os.supports_dir_fd
"""Whether a name can be looked up in a folder that is open. Elsewhere no sandbox could change the tree."""

_MARKS = ("CACHEDIR.TAG", "pyvenv.cfg")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """What is built, and how."""

    name: str
    """What messages call it: `python-prctl 1.8.1`, `the project`."""
    root: Path
    """On this machine, behind all links; read, never written."""
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

    Links stay links: inside the sandbox one that leads out of the tree leads nowhere. A run may change the
    tree meanwhile, and the folders above it, so `source` is a path without links, each step is taken from the
    folder that was opened, never through a link and never by waiting for a pipe: what lies elsewhere is not
    copied, whatever is exchanged when.

    Raises:
        StorageError: the tree cannot be read or there is no space for the copy.
    """
    with storage_errors(f"copy the source tree `{source}`"):
        target.mkdir(parents=True)
        for entry in _walk(source):
            place = target / entry.path
            if entry.kind is _Kind.LINK:
                place.symlink_to(os.readlink(entry.name, **entry.within))
            elif entry.kind is _Kind.FOLDER:
                place.mkdir()
            else:
                _copy_file(entry, place)


def _copy_file(entry: _Entry, place: Path) -> None:
    """Copy content, mode and times of what is still a regular file."""
    try:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW if _BY_DESCRIPTOR else os.O_RDONLY
        descriptor = os.open(entry.name, flags, **entry.within)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOENT, errno.ENXIO):
            return  # It became something else, or is gone.
        raise
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return
        with place.open("xb") as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
        place.chmod(stat.S_IMODE(status.st_mode))
        os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))


def copied_files(source: Path) -> Iterator[str]:
    """List the regular files that `copy_tree` copies, relative to the tree, sorted within each folder."""
    with storage_errors(f"read the source tree `{source}`"):
        for entry in _walk(source):
            if entry.kind is _Kind.FILE:
                yield entry.path


def take_compiled(
    copy: Path, root: Path, may_write: Callable[[Path, tuple[Path, ...]], None]
) -> tuple[Path, ...]:
    """Bring extension modules that a build put beside its sources from the copy into the tree; return them.

    An editable wheel of a compiled project points at them there, so without them it could not be imported.
    It is the one thing that a build writes into a working tree: regular files with the suffix of an extension
    module, never through a link, never in place of anything but a regular file. Before the first one
    `may_write` is called with the tree and all that the tree lacks; it raises to refuse.

    Raises:
        StorageError: the disk refused.
        Exception: what `may_write` raised.
    """
    made = [path for path in copied_files(copy) if path.endswith(_COMPILED)]
    lacking = [
        path for path in made if not path.startswith(_BUILD_FOLDERS) and _put(copy, root, path, dry=True)
    ]
    if lacking:
        may_write(root, tuple(root / path for path in lacking))
    return tuple(root / path for path in lacking if _put(copy, root, path))


def _put(copy: Path, root: Path, path: str, *, dry: bool = False) -> bool:
    """Write a module of the copy into the tree unless it is there already, through no link.

    Says whether it was written; with `dry`, nothing is, and it says whether it would be.
    """
    content = read_regular_file(copy / path, largest_bytes=_LARGEST_MODULE_BYTES)
    below, _, name = path.rpartition("/")
    with storage_errors(f"write `{root / path}`"), _opened(root, f"{below}/" if below else "") as folder:
        if content is None or folder is None:
            return False
        at: _Within = {"dir_fd": folder} if _BY_DESCRIPTOR else {}
        name = name if _BY_DESCRIPTOR else str(root / path)
        try:
            status = os.stat(name, follow_symlinks=False, **at)  # noqa: PTH116 - relative to an open folder
        except FileNotFoundError:
            pass
        else:
            if not stat.S_ISREG(status.st_mode) or (
                status.st_size == len(content) and _content(name, at) == content
            ):
                return False
        if dry:
            return True
        beside = f"{name}.{os.urandom(4).hex()}.tmp"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755, **at)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(descriptor)
            ends = {"src_dir_fd": folder, "dst_dir_fd": folder} if _BY_DESCRIPTOR else {}
            os.replace(beside, name, **ends)  # noqa: PTH105 - relative to an open folder
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside, **at)
            raise
        return True


def _content(name: str, at: _Within) -> bytes | None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK if _BY_DESCRIPTOR else os.O_RDONLY
    try:
        with os.fdopen(os.open(name, flags, **at), "rb") as stream:
            return stream.read()
    except OSError:
        return None


class _Within(TypedDict, total=False):
    """The folder that a name is relative to, for calls that take one."""

    dir_fd: int


class _Kind(enum.Enum):
    FILE = "file"
    FOLDER = "folder"
    LINK = "link"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One thing in a tree; `name` is valid together with `within`, for as long as the walk stands there."""

    path: str
    kind: _Kind
    name: str
    within: _Within


def _walk(source: Path) -> Iterator[_Entry]:
    """Give each file, link and folder that belongs to the tree, a folder before what lies in it.

    Without recursion: a hostile tree can be deeper than the interpreter's stack.
    """
    pending = [""]
    while pending:
        below = pending.pop()
        with _opened(source, below) as folder:
            if folder is None:
                continue
            at: _Within = {"dir_fd": folder} if _BY_DESCRIPTOR else {}
            with os.scandir(folder if _BY_DESCRIPTOR else source / below) as entries:
                found = sorted((entry.name, _kind(entry)) for entry in entries)
            for name, word in found:
                if not word:
                    continue
                kind, path = _Kind(word), f"{below}{name}"
                reached = name if _BY_DESCRIPTOR else str(source / path)
                if kind is _Kind.FOLDER:
                    if name in _LEFT_OUT or _is_marked(reached, at):
                        continue
                    pending.append(f"{path}/")
                yield _Entry(path=path, kind=kind, name=reached, within=at)


def _kind(entry: os.DirEntry[str]) -> str:
    """The value of a `_Kind`, or nothing for what is not copied."""
    if entry.is_symlink():
        return _Kind.LINK.value
    if entry.is_dir(follow_symlinks=False):
        return _Kind.FOLDER.value
    return _Kind.FILE.value if entry.is_file(follow_symlinks=False) else ""


@contextlib.contextmanager
def _opened(source: Path, below: str) -> Iterator[int | None]:
    """Open a folder below `source`, through no link; None if it is none any more.

    Where the system opens no folders, the number says nothing and paths are used instead.
    """
    if not _BY_DESCRIPTOR:
        parts = [source.joinpath(*below.split("/")[:number]) for number in range(1, below.count("/") + 1)]
        yield None if any(part.is_symlink() or not part.is_dir() for part in parts) else -1
        return
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    here = _open_root(source, flags | os.O_NOFOLLOW)
    try:
        for part in below.split("/")[:-1]:
            try:
                following = os.open(part, flags | os.O_NOFOLLOW, dir_fd=here)
            except (FileNotFoundError, NotADirectoryError):
                yield None
                return
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                yield None
                return
            os.close(here)
            here = following
        yield here
    finally:
        os.close(here)


def _open_root(source: Path, flags: int) -> int:
    """Open the tree itself, step by step from the root of the file system.

    Raises: OSError: a folder on the way is none, or none any more.
    """
    # What is only passed through need not be listed, and often may not.
    passing = flags | getattr(os, "O_PATH", 0)
    here = os.open(source.anchor, passing)
    parts = source.parts[1:]
    for number, part in enumerate(parts, start=1):
        above = here
        try:
            here = os.open(part, flags if number == len(parts) else passing, dir_fd=above)
        finally:
            os.close(above)
    return here


def _is_marked(name: str, at: _Within) -> bool:
    for mark in _MARKS:
        try:
            status = os.stat(f"{name}/{mark}", follow_symlinks=False, **at)  # noqa: PTH116 - see above
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            return True
    return False

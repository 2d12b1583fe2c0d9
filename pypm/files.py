"""Writing that a reader never sees half, locks between processes, and removal of read-only trees.

An `OSError` of the disk becomes a `StorageError` here, with what was attempted and what the user can do.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pypm.errors import StorageError
from pypm.flock import clear_signature, holder_of, sign, try_lock, try_lock_whole, unlock

_HINTS = {
    errno.ENOSPC: "free some space; `pypm cache prune` removes what no project has used lately",
    errno.EDQUOT: "your disk quota is used up; `pypm cache prune` removes what no project has used lately",
    errno.EROFS: "the file system is read-only; point `PYPM_CACHE_DIR` or the project to a writable one",
    errno.EACCES: "check who owns the file and its folder; `PYPM_CACHE_DIR` chooses another cache",
    errno.EPERM: "check who owns the file and its folder; `PYPM_CACHE_DIR` chooses another cache",
    errno.EIO: "the disk reported an error; look at the system log before you trust it further",
    errno.ENOLCK: "this file system has no locks; point `PYPM_CACHE_DIR` to a local disk",
    errno.EFBIG: "no such file is that large; look at what it is, and put the right one in its place",
    errno.EBUSY: "something is mounted there: unmount it, or use another folder",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENAMETOOLONG: "use a shorter path for the project or for `PYPM_CACHE_DIR`",
}

_REFERENCES = {
    errno.ENOSPC: "no-space",
    errno.EDQUOT: "no-space",
    errno.EROFS: "read-only-file-system",
    errno.EACCES: "permission-denied",
    errno.EPERM: "permission-denied",
    errno.EIO: "disk-error",
}

_SHORTEST_PAUSE_SECONDS = 0.001
_LONGEST_PAUSE_SECONDS = 0.05
"""A taken lock is tried again after pauses that double between these; flock(2) itself knows no time limit."""

_MOMENT_SECONDS = 1.0
"""A lock that is given back sooner is nothing to talk about."""

_LOCKS_OPEN_FILES = sys.platform != "win32"
"""Whether a lock leaves the file writable for its holder alone, and removable for all."""

_HAS_DESCRIPTOR_PATHS = os.scandir in os.supports_fd and os.unlink in os.supports_dir_fd


@contextlib.contextmanager
def storage_errors(action: str) -> Iterator[None]:
    """Translate every `OSError` of the block to a `StorageError` that says what could not be done.

    `action` completes the sentence "cannot ...": `write `pypm.lock``. Handle the errors that are answers
    (a file that may be missing) inside the block.
    """
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        raise StorageError(
            f"cannot {action}: {error.strerror or error}",
            reference=_REFERENCES.get(number, "storage-failed"),
            hint=_HINTS.get(number),
        ) from error


def make_own_folder(path: Path) -> None:
    """Make a folder that this user alone can write, or see whether what is there is one.

    Whatever lies in it is believed later: who could put something there would decide what this user runs. A
    folder that cannot be made is left to whoever writes to it, and a missing one is nobody's.

    Raises:
        StorageError: it is another user's, or everybody may write to it.
    """
    with contextlib.suppress(OSError):
        for folder in reversed((path, *path.parents)):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
    try:
        status = path.stat()
    except OSError:
        return
    if not hasattr(os, "geteuid"):
        return
    if status.st_uid not in (0, os.geteuid()):
        problem = "belongs to another user"
        hint = "`PYPM_CACHE_DIR` chooses another one; under sudo, `sudo -H` takes root's own"
    elif status.st_mode & stat.S_IWOTH:
        problem = "can be written by every user"
        hint = f"`PYPM_CACHE_DIR` chooses another one, or `chmod o-w {path}` if nobody has used it"
    else:
        return
    raise StorageError(
        f"`{path}` {problem}, who would decide what you run",
        reference="foreign-cache",
        hint=hint,
    )


@contextlib.contextmanager
def opened_folder(path: Path) -> Iterator[int | None]:
    """Open the folder that is to hold `path`, so that nobody can put a link to another one in its place.

    None where the system opens no folders. Raises: StorageError: there is no such folder.
    """
    if os.open not in os.supports_dir_fd:
        yield None
        return
    with storage_errors(f"write `{path}`"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644, folder: int | None = None) -> None:
    """Replace `path` by a file with this content, or leave it as it was.

    The bytes are written beside their place, flushed to the disk and renamed in; then the folder is flushed,
    so that the name survives a power cut too. A symbolic link at `path` is replaced, never followed: a link
    planted in the project must not turn a write into one elsewhere. `mode` is subject to the umask. With
    `folder`, from `opened_folder`, the file comes into that one, wherever `path` leads by now.

    Raises:
        StorageError: the disk refused; nothing is left beside `path`.
    """
    with storage_errors(f"write `{path}`"):
        place = path if folder is None else Path(path.name)
        try:
            beside, descriptor = _open_beside(place, mode, folder)
        except OSError as error:
            error.filename = os.fspath(path)  # Not the name beside it, which nobody has heard of.
            raise
        try:
            try:
                _write_all(descriptor, content)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(beside, place, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside, dir_fd=folder)
            raise
        if folder is None:
            flush_folder(path.parent)
        else:
            os.fsync(folder)


def _open_beside(path: Path, mode: int, folder: int | None = None) -> tuple[Path, int]:
    """Make the file that is to be renamed to `path`, locked while it is written: see `sweep_beside`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
        descriptor = os.open(beside, flags, mode, dir_fd=folder)
        try:
            # A sweep may come between the two calls; then this file is its, and another one is made.
            if _LOCKS_OPEN_FILES and not (
                try_lock(descriptor, shared=False) and os.fstat(descriptor).st_nlink
            ):
                os.close(descriptor)
                continue
        except OSError:
            pass  # A file system without locks: nobody can sweep there, either.
        return beside, descriptor


def sweep_beside(path: Path) -> None:
    """Remove what killed processes left when they were about to replace `path`.

    The lock of a file ends with the process that writes it, however that ends, so what can be locked is
    nobody's. Best effort: what cannot be removed now stays for the next sweep.
    """
    if not _LOCKS_OPEN_FILES:
        return
    with contextlib.suppress(OSError):
        for beside in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.tmp"):
            descriptor = os.open(beside, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if try_lock(descriptor, shared=False):
                    beside.unlink()
            finally:
                os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    remaining = memoryview(content)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename into it survives a power cut.

    Windows cannot open folders for flushing; there the file system's journal has to do.
    """
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems cannot flush folders and say so with EINVAL.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(
    path: Path,
    *,
    shared: bool = False,
    timeout_seconds: float | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Hold the lock file `path` for the block; it and its folder are made when missing.

    Several shared holders may stand together; an exclusive one stands alone, also among threads of one
    process. When the lock stays taken for a moment, `on_wait` is called once with the holder
    (`process 4711 (pypm sync)`).
    The lock ends with the process, however that ends: the file may stay, it means nothing by itself. Not
    reentrant.

    Raises:
        StorageError: the lock was not to be had within `timeout_seconds`, or the disk refused.

    Source: flock(2).
    """
    with storage_errors(f"lock `{path}`"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(path, shared, timeout_seconds, on_wait)
    try:
        yield
    finally:
        if not shared:
            # Unlocking explicitly matters: a child that was forked meanwhile shares the lock with us.
            with contextlib.suppress(OSError):
                clear_signature(descriptor)
        unlock(descriptor)
        os.close(descriptor)


@contextlib.contextmanager
def locked_folder(path: Path, *, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a lock on a folder itself for the block, where no lock file can be made.

    Raises:
        StorageError: the disk refused.

    Source: flock(2); any open file can be locked, and a folder can be opened for reading.
    """
    if sys.platform == "win32":
        yield
        return
    with storage_errors(f"lock `{path}`"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with storage_errors(f"lock `{path}`"):
            _wait(descriptor, path, False, None, _Waiting(on_wait))
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked_whole(path: Path, *, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold all bytes of the lock file `path` for the block, against processes that hold one byte each.

    Raises:
        StorageError: the disk refused.

    Source: lockf(3).
    """
    if sys.platform == "win32":
        yield
        return
    with storage_errors(f"lock `{path}`"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        waiting = _Waiting(on_wait)
        with storage_errors(f"lock `{path}`"):
            while not try_lock_whole(descriptor):
                waiting.tell(descriptor)
                time.sleep(_LONGEST_PAUSE_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _acquire(
    path: Path,
    shared: bool,
    timeout_seconds: float | None,
    on_wait: Callable[[str], None] | None,
) -> int:
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    waiting = _Waiting(on_wait)
    while True:
        # Never through a link: the holder's name is written into whatever this opens.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            _wait(descriptor, path, shared, deadline, waiting)
            # Between our open and our lock, another process may have removed the file (a cache that is
            # pruned): then we hold a lock on a file that nobody else will find.
            if _is_same_file(descriptor, path):
                sign(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


class _Waiting:
    """Tells once who is waited for, after a moment."""

    def __init__(self, on_wait: Callable[[str], None] | None) -> None:
        self._on_wait = on_wait
        self._since = time.monotonic()

    def tell(self, descriptor: int) -> None:
        if self._on_wait is not None and time.monotonic() - self._since >= _MOMENT_SECONDS:
            self._on_wait(holder_of(descriptor))
            self._on_wait = None


def _wait(descriptor: int, path: Path, shared: bool, deadline: float | None, waiting: _Waiting) -> None:
    pause_seconds = _SHORTEST_PAUSE_SECONDS
    while not try_lock(descriptor, shared=shared):
        if deadline is not None and time.monotonic() >= deadline:
            raise StorageError(
                f"`{path}` is still locked by {holder_of(descriptor)}",
                reference="lock-timeout",
                hint="wait for that process to end, or end it",
            )
        waiting.tell(descriptor)
        time.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def remove_tree(path: Path) -> None:
    """Remove a file, a link or a whole tree, read-only or not, however deep; nothing when it is missing.

    Links are removed, never followed. Each sub-folder is first renamed up into the top one, so a hostile tree
    with ten thousand levels needs neither recursion nor open descriptors nor long paths.

    Raises:
        StorageError: something could not be removed.
    """
    with storage_errors(f"remove `{path}`"):
        try:
            status = path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            path.unlink()
        elif _HAS_DESCRIPTOR_PATHS:
            _remove_flattening(path)
        else:
            import shutil

            shutil.rmtree(path, onerror=_make_writable_and_retry)


_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


def _remove_flattening(path: Path) -> None:
    _open_to_owner(path)
    top = os.open(path, _FOLDER)
    prefix = f".{os.urandom(4).hex()}"
    try:
        pending = _clear(top, top, prefix)
        while pending:
            name = pending.pop()
            folder = os.open(name, _FOLDER, dir_fd=top)
            try:
                pending += _clear(folder, top, name)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    path.rmdir()


def _clear(folder: int, top: int, prefix: str) -> list[str]:
    """Unlink the files of `folder` and move its sub-folders into `top`; return their new names there."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    lifted: list[str] = []
    for name, is_folder in found:
        if is_folder:
            _open_to_owner(name, folder)
            name_above = f"{prefix}-{len(lifted)}" if len(prefix) < 128 else f".{os.urandom(8).hex()}"
            os.rename(name, name_above, src_dir_fd=folder, dst_dir_fd=top)
            lifted.append(name_above)
        else:
            os.unlink(name, dir_fd=folder)
    return lifted


def _open_to_owner(name: str | Path, folder: int | None = None) -> None:
    """Let the owner list and change a folder; needed before its entries can be removed or it can be moved."""
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_IMODE(status.st_mode) & 0o700 != 0o700:
        os.chmod(name, 0o700, dir_fd=folder)


def _make_writable_and_retry(function: Callable[[str], object], name: str, _: object) -> None:
    """Answer to `shutil.rmtree` where folders cannot be opened: Windows refuses to remove read-only files."""
    Path(name).chmod(stat.S_IWRITE | stat.S_IREAD)
    function(name)

"""Host-side mount points for what does not exist on disk yet, shared between concurrent sandboxes.

A mount needs something to stand on. Where a policy mounts or protects a path inside a writable bind and the
path is missing on the host, an empty placeholder is created there and removed afterwards. Removing a mount
point on the host detaches the mounts on it in every namespace, so sandboxes that share one count themselves
by a shared `flock` on it: whoever gets the exclusive lock is the last and removes it.

A placeholder is told from a user's own empty file by its mode (sticky, and readable by its owner only),
which is set in the one call that creates it. One that a crash left behind is taken over by the next
sandbox and then removed. No symbolic link is ever followed.
"""

from __future__ import annotations

import errno
import os
import stat

from sandbox.linux import constants as c
from sandbox.linux import syscalls

FILE_MODE = stat.S_IFREG | stat.S_ISVTX | 0o400
DIRECTORY_MODE = stat.S_IFDIR | stat.S_ISVTX | 0o700
_STEP = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    Entry = tuple[str, tuple[str, ...], bool | str, bool]
    """(bind source, parts below it, is a directory, made whole instead of masked at the first gap).

    A path instead of whether it is a directory names what is mounted there: the placeholder is of its kind.
    """
    Held = tuple[int, str, int]
    """(directory descriptor, name in it, locked descriptor)."""


def is_placeholder(status: os.stat_result) -> bool:
    """Whether `status` is that of a placeholder; a directory's own size says nothing on most file systems."""
    return status.st_mode == DIRECTORY_MODE or (status.st_mode == FILE_MODE and status.st_size == 0)


def missing(entries: tuple[Entry, ...]) -> bool:
    """Whether any path is not there or is another sandbox's placeholder, so that a keeper is needed."""
    for source, parts, _, _ in entries:
        path = source
        for part in parts:
            path = f"{path}/{part}"
            try:
                status = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                return True
            if is_placeholder(status):
                return True
    return False


def acquire(entries: tuple[Entry, ...]) -> list[Held]:
    """Create or share every placeholder that is needed. Raises: OSError; nothing is kept then."""
    held: list[Held] = []
    sources: dict[str, int] = {}
    previous = os.umask(0)
    try:
        for entry in entries:
            source = entry[0]
            if source not in sources:
                sources[source] = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            _acquire_entry(sources[source], entry, held)
    except OSError:
        for descriptor in release(held):
            os.close(descriptor)
        raise
    finally:
        os.umask(previous)
        for descriptor in sources.values():
            os.close(descriptor)
    return held


def release(held: list[Held]) -> list[int]:
    """Let go in reverse order, and remove what nobody else holds; return the descriptors of what is removed.

    Who closes one gives the file back to the disk. Where the disk is told of every free block that takes
    milliseconds for a directory, so it is left to the caller, who may have something to say before.
    """
    removed: list[int] = []
    for directory, name, descriptor in reversed(held):
        is_gone = False
        try:
            syscalls.flock(descriptor, c.LOCK_EX | c.LOCK_NB)
            mine = os.fstat(descriptor)
            if is_placeholder(mine) and _is_named(directory, name, mine):
                _remove(directory, name, descriptor, mine.st_mode)
                is_gone = True
        except OSError as error:
            # EWOULDBLOCK: another sandbox stands on it and will remove it. ENOENT: the user did.
            if error.errno not in (errno.EWOULDBLOCK, errno.ENOENT):
                raise
        finally:
            if is_gone:
                removed.append(descriptor)
            else:
                os.close(descriptor)
            os.close(directory)
    held.clear()
    return removed


def _remove(directory: int, name: str, descriptor: int, mode: int) -> None:
    """Remove a placeholder; a directory that was filled meanwhile becomes an ordinary one, its owner's."""
    if not stat.S_ISDIR(mode):
        os.unlink(name, dir_fd=directory)
        return
    try:
        os.rmdir(name, dir_fd=directory)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        os.fchmod(descriptor, 0o755)


def _acquire_entry(source: int, entry: Entry, held: list[Held]) -> None:
    """Walk down one path and hold each missing step; a masked path stops at the first."""
    _, parts, is_directory, whole = entry
    directory = os.dup(source)
    try:
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            kind_is_directory = _is_directory(is_directory) if last else True
            descriptor = _share(directory, part, kind_is_directory)
            if descriptor is not None:
                held.append((os.dup(directory), part, descriptor))
                if not whole:
                    return
            if not last:
                below = os.open(part, os.O_RDONLY | _STEP, dir_fd=directory)
                os.close(directory)
                directory = below
    finally:
        os.close(directory)


def _is_directory(kind: bool | str) -> bool:
    """Whether a placeholder is to be a directory, told outright or by what will be mounted on it."""
    return kind if isinstance(kind, bool) else os.path.isdir(kind)  # noqa: PTH112 - no pathlib on this path


def _share(directory: int, name: str, is_directory: bool) -> int | None:
    """A locked descriptor of the placeholder `name`, created if need be; None if something real is there.

    The race that the loop closes: another sandbox may remove the placeholder between our opening and our
    locking of it. Then the name leads elsewhere or nowhere, and we start again.
    """
    while True:
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not is_placeholder(status):
                return None
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=directory)
        except FileNotFoundError:
            created = _create(directory, name, is_directory)
            if created is None:
                continue
            descriptor = created
        syscalls.flock(descriptor, c.LOCK_SH)
        if _is_named(directory, name, os.fstat(descriptor)):
            return descriptor
        os.close(descriptor)


def _is_named(directory: int, name: str, mine: os.stat_result) -> bool:
    """Whether `name` still leads to what is open, which is locked by now."""
    try:
        here = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (here.st_dev, here.st_ino) == (mine.st_dev, mine.st_ino)


def _create(directory: int, name: str, is_directory: bool) -> int | None:
    """Create a placeholder in one call and open it; None if somebody else was there meanwhile."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        if not is_directory:
            creating = flags | os.O_CREAT | os.O_EXCL
            return os.open(name, creating, stat.S_IMODE(FILE_MODE), dir_fd=directory)
        os.mkdir(name, stat.S_IMODE(DIRECTORY_MODE), dir_fd=directory)
        return os.open(name, flags | os.O_DIRECTORY, dir_fd=directory)
    except (FileExistsError, FileNotFoundError):
        return None

"""Link the files of stored wheels into a folder, comparing each with its manifest on the way."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from pypm.codec.manifest import ManifestRow
from pypm.errors import IntegrityError

if TYPE_CHECKING:
    from pypm.model.wheel import StoredWheel

_COPY_INSTEAD = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
)
"""Another device, a file system without links, or one whose links are used up or forbidden
(protected_hardlinks)."""
_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file (btrfs, XFS)
_CHUNK_BYTES = 1 << 20


class ChangedTreeError(IntegrityError):
    """A tree of the store is not what was unpacked; it can be made anew from its archive."""

    tree: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Files of one wheel that are to be linked."""

    wheel: StoredWheel
    mtime_ns: int
    rows: Sequence[ManifestRow]


def link_all(links: Iterable[Link], target: Path, *, threads: int, copy: bool = False) -> None:
    """Link all files below `target`, whose folders exist by then, with several threads; or `copy` each.

    The calling thread takes from `links`, which may be made on the way, and then helps the others.

    Raises:
        ChangedTreeError: a file of the store is missing or differs from its manifest.
        OSError: the disk refused.
    """
    pending: SimpleQueue[Link | None] = SimpleQueue()
    failures: list[BaseException] = []
    target_fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)

    def drain() -> None:
        while (link := pending.get()) is not None and not failures:
            try:
                _link(link, target_fd, copying=copy)
            except BaseException as error:
                failures.append(error)

    workers = [threading.Thread(target=drain, name="link") for _ in range(threads - 1)]
    try:
        for worker in workers:
            worker.start()
        for link in links:
            pending.put(link)
            if failures:
                break
        for _ in range(threads):
            pending.put(None)
        drain()
    except BaseException as error:
        # An interrupt that arrives here must not leave threads writing into a folder that is being removed.
        failures.append(error)
        for _ in workers:
            pending.put(None)
        raise
    finally:
        for worker in workers:
            worker.join()
        os.close(target_fd)
    if failures:
        raise failures[0]


def _link(link: Link, target_fd: int, *, copying: bool) -> None:
    source_fd = os.open(link.wheel.prefix, os.O_RDONLY | os.O_DIRECTORY)
    expected_mtime_ns, regular = link.mtime_ns, stat.S_IFREG
    # The loop runs twenty thousand times: names are bound once, and nothing is called that need not be.
    look, hard_link = os.stat, os.link
    try:
        for path, mode, size_bytes, _ in link.rows:
            try:
                status = look(path, dir_fd=source_fd, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                raise changed_tree(link.wheel, path, "is missing") from None
            if (
                status.st_size != size_bytes
                or status.st_mtime_ns != expected_mtime_ns
                or status.st_mode != regular | mode
            ):
                raise changed_tree(link.wheel, path, "was changed")
            if not copying:
                try:
                    hard_link(path, path, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
                    continue
                except OSError as error:
                    if error.errno not in _COPY_INSTEAD:
                        raise
                    copying = error.errno == errno.EXDEV
            _copy(path, mode, expected_mtime_ns, source_fd, target_fd)
    finally:
        os.close(source_fd)


def _copy(path: str, mode: int, mtime_ns: int, source_fd: int, target_fd: int) -> None:
    """Copy one file, sharing its blocks where the file system can."""
    source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=source_fd)
    try:
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, dir_fd=target_fd)
        try:
            if not _reflink(source, target):
                while chunk := os.read(source, _CHUNK_BYTES):
                    view = memoryview(chunk)
                    while view:
                        view = view[os.write(target, view) :]
            os.fchmod(target, mode)
            os.utime(target, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(target)
    finally:
        os.close(source)


def _reflink(source: int, target: int) -> bool:
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.ioctl(target, _FICLONE, source)
        return True
    return False


def changed_tree(wheel: StoredWheel, path: str, what: str) -> ChangedTreeError:
    """Return the error for a file of the store that something wrote to."""
    error = ChangedTreeError(
        f"the file `{path}` of `{wheel.name}` in the store {what} since it was unpacked",
        reference="store-changed",
        hint="something wrote to the store; `pypm cache clean` removes it, the next sync unpacks all anew",
    )
    error.tree = wheel.tree
    return error

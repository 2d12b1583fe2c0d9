"""Reading files that somebody else may have put there: regular ones alone, of a bounded size.

Source: open(2), `O_NONBLOCK`, `O_NOCTTY` and `O_NOFOLLOW`; fifo(7).
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

LARGEST_BYTES = 64 << 20
"""No project, lock, manifest or RECORD comes near this; the largest lock that was seen has five megabytes."""

LARGEST_PROGRAM_BYTES = 4 << 30
"""Programs that wheels bring as scripts are binaries in part, of a hundred megabytes and more."""

_PIECE_BYTES = 64 << 10


def open_regular(path: Path, *, largest_bytes: int | None = None, follow: bool = True) -> io.FileIO:
    """Open a file for reading; a FIFO or a device in its place is refused, and nobody waits for its writer.

    With `largest_bytes`, a larger file is refused before any of it is loaded: a sparse one of a terabyte
    takes next to no room on a disk, and would take all memory. Without `follow` a symbolic link is refused.

    Raises:
        OSError: it cannot be opened, is no regular file, or is too large.
    """
    flags = 0 if follow else getattr(os, "O_NOFOLLOW", 0)
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, os.O_RDONLY | flags | getattr(os, "O_CLOEXEC", 0))
    try:
        status = os.fstat(descriptor)
        problem = _unfit(status, path, largest_bytes)
        if problem is None:
            return io.FileIO(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    raise problem


def _unfit(status: os.stat_result, path: Path, largest_bytes: int | None) -> OSError | None:
    if stat.S_ISDIR(status.st_mode):
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        return OSError(errno.EINVAL, "it is not a regular file", str(path))
    if largest_bytes is not None and status.st_size > largest_bytes:
        return _too_large(path, largest_bytes)
    return None


def read_regular(path: Path, *, largest_bytes: int = LARGEST_BYTES, follow: bool = True) -> bytes:
    """Return the content of what `open_regular` opens.

    Raises:
        OSError: it cannot be read, is no regular file, or is too large.
    """
    with open_regular(path, largest_bytes=largest_bytes, follow=follow) as stream:
        content = bytearray()
        # What is written to the file meanwhile counts as well, so the size that it had at first is no bound.
        while piece := stream.read(max(os.fstat(stream.fileno()).st_size - len(content) + 1, _PIECE_BYTES)):
            content += piece
            if len(content) > largest_bytes:
                raise _too_large(path, largest_bytes)
        return bytes(content)


def _too_large(path: Path, largest_bytes: int) -> OSError:
    return OSError(errno.EFBIG, f"it is larger than {largest_bytes >> 20} MiB", str(path))


def read_regular_text(path: Path, *, errors: str = "strict") -> str:
    """Return a file's text, with line ends as Python reads them; else like `read_regular`.

    Raises:
        OSError: see there.
        UnicodeDecodeError: it is not UTF-8, and `errors` says nothing else.
    """
    text = read_regular(path).decode("utf-8", errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")

"""Descriptors that the caller hands in lead to files by the caller's mounts, past those of the sandbox.

`/proc/self/fd/0` opens such a file anew. Landlock holds where the file lies outside of everything that
is writable; a protected file inside could be written by way of having been handed in for reading. So it is
opened again where the sandbox shows it, read-only, and takes the old one's place.

Source: proc_pid_fd(5).
"""

from __future__ import annotations

import os
import stat

from sandbox.linux import constants as c
from sandbox.linux import syscalls
from sandbox.linux.context import Context, fail

_NAMES = {0: "standard input", 1: "standard output", 2: "standard error"}


def flags(descriptors: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """(descriptor, status flags) of those that are open."""
    found = []
    for descriptor in descriptors:
        try:
            found.append((descriptor, syscalls.status_flags(descriptor)))
        except OSError:
            continue  # Closed by the caller.
    return tuple(found)


def put_back(found: tuple[tuple[int, int], ...]) -> None:
    """Set the status flags as they were found.

    They belong to the stream and not to the process: whoever else has it open would be told to try again
    (`O_NONBLOCK`), or would write over what it meant to append to.
    """
    for descriptor, was in found:
        if syscalls.status_flags(descriptor) != was:
            syscalls.set_status_flags(descriptor, was)


def settle(context: Context, writable: tuple[str, ...]) -> None:
    """Open again what was handed in for reading and lies below `writable`; refuse folders as streams."""
    for descriptor in (0, 1, 2, *context.keep):
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue  # Closed by the caller.
        if stat.S_ISDIR(status.st_mode) and descriptor in _NAMES:
            # Everything below it could be reached, the protected and the hidden alike.
            message = f"{_NAMES[descriptor]} is a folder"
            raise fail("streams", message, hint="redirect it from a file or from `/dev/null`")
        if stat.S_ISREG(status.st_mode) and not syscalls.status_flags(descriptor) & os.O_ACCMODE:
            _open_again(context, descriptor, status, writable)


def _open_again(context: Context, descriptor: int, status: os.stat_result, writable: tuple[str, ...]) -> None:
    """Replace `descriptor` if the sandbox shows its file read-only; the position in it is kept."""
    path = os.readlink(f"self/fd/{descriptor}", dir_fd=context.host_proc)
    if not any(path.startswith(f"{folder}/") or path == folder for folder in writable):
        return
    try:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        here = syscalls.openat2(c.AT_FDCWD, path, flags, c.RESOLVE_NO_SYMLINKS | c.RESOLVE_NO_MAGICLINKS)
    except OSError:
        return  # It has no name any more, or lies where the payload may not look.
    try:
        same = os.path.samestat(os.fstat(here), status)
        if same and os.fstatvfs(here).f_flag & os.ST_RDONLY:
            os.lseek(here, os.lseek(descriptor, 0, os.SEEK_CUR), os.SEEK_SET)
            os.dup2(here, descriptor)
    finally:
        os.close(here)

"""Landlock as a second wall behind the mounts: what the mount tree shows read-only stays unwritable.

It also scopes signals and abstract Unix sockets to the sandbox where the kernel knows how. It never covers
stat, chmod, chown, utime, extended attributes, or descriptors that were opened before; the mounts do.

Source: linux/landlock.h, Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import errno
import os
import stat

from sandbox.linux import syscalls

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_BLOCK = 1 << 6, 1 << 11
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
SCOPES = 0b11
"""LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and LANDLOCK_SCOPE_SIGNAL, since ABI 6."""
_RIGHTS_BY_ABI = {0: 0, 1: 13, 2: 14, 3: 15, 4: 15}
"""How many file system rights an ABI knows, counted from bit 0."""


def restrict(writable: tuple[str, ...], descriptors: tuple[int, ...]) -> int:
    """Confine this thread to reading everywhere and writing below `writable`; return the ABI or 0.

    `descriptors` are handed to the payload: reopening them through `/dev/stdout` and the like must go on
    working, so the files behind them are allowed too, for what they are open for and no more. The way through
    `/proc/self/fd` passes by the sandbox's mounts, so that this is the only wall there: without it a file
    that was handed in for reading could be written, protected ones of the project among them.
    """
    abi = syscalls.landlock_abi()
    if abi == 0:
        return 0
    handled = handled_rights(abi)
    attributes = handled.to_bytes(8, "little")
    if abi >= 4:
        attributes += bytes(8)
    if abi >= 6:
        attributes += SCOPES.to_bytes(8, "little")
    ruleset = syscalls.landlock_create_ruleset(attributes)
    try:
        allow_path(ruleset, "/", (EXECUTE | READ_FILE | READ_DIR) & handled)
        for path in writable:
            allow_path(ruleset, path, handled & ~(MAKE_CHAR | MAKE_BLOCK))
        for descriptor in descriptors:
            if rights := handled & rights_of(descriptor):
                allow_descriptor(ruleset, descriptor, rights)
        syscalls.landlock_restrict_self(ruleset)
    finally:
        os.close(ruleset)
    return abi


def handled_rights(abi: int) -> int:
    """Every file system right that an ABI knows."""
    return (1 << _RIGHTS_BY_ABI.get(abi, 16)) - 1


def rights_of(descriptor: int) -> int:
    """What an open descriptor already allows; a folder that was handed in is meant as a whole."""
    try:
        mode = syscalls.status_flags(descriptor) & os.O_ACCMODE
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return ~(MAKE_CHAR | MAKE_BLOCK)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        return 0  # Closed by the caller; there will be no rule for it.
    reading = 0 if mode == os.O_WRONLY else EXECUTE | READ_FILE
    writing = 0 if mode == os.O_RDONLY else WRITE_FILE | TRUNCATE
    return reading | writing | IOCTL_DEV


def allow_path(ruleset: int, path: str, access: int) -> None:
    """Allow `access` beneath a path inside; one that an optional mount did not bring is left out."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        allow_descriptor(ruleset, descriptor, access)
    finally:
        os.close(descriptor)


def allow_descriptor(ruleset: int, descriptor: int, access: int) -> None:
    """Allow `access` beneath an open file; a file that is no directory takes fewer rights."""
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= FILE_RIGHTS
        syscalls.landlock_allow(ruleset, descriptor, access)
    except OSError as error:
        # EBADFD: pipes and sockets have no place in the file system, Landlock leaves them alone.
        # EBADF: the caller's descriptor is closed.
        if error.errno not in (errno.EBADFD, errno.EBADF):
            raise

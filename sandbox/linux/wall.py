"""Applies the rules of `reach.py` with Landlock, in the process that becomes the command.

Source: linux/landlock.h, Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import errno
import os
import stat

from sandbox.linux import landlock, reach, syscalls
from sandbox.linux.context import Context, fail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NETWORK = 0b11
"""LANDLOCK_ACCESS_NET_BIND_TCP and LANDLOCK_ACCESS_NET_CONNECT_TCP, since ABI 4."""
_READ = landlock.EXECUTE | landlock.READ_FILE | landlock.READ_DIR
_DEVICE = landlock.READ_FILE | landlock.WRITE_FILE | landlock.IOCTL_DEV
_CHILD = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def wall(context: Context, rules: tuple[reach.Rule, ...], network: bool) -> None:
    """Confine this process to the rules and to what it was handed; the caller's network only if `network`."""
    abi = syscalls.landlock_abi()
    handled = landlock.handled_rights(abi)
    attributes = handled.to_bytes(8, "little")
    if abi >= 4:
        attributes += (0 if network else NETWORK).to_bytes(8, "little")
    if abi >= 6:
        attributes += landlock.SCOPES.to_bytes(8, "little")
    ruleset = syscalls.landlock_create_ruleset(attributes)
    try:
        for rule in rules:
            _add(ruleset, rule, handled)
        landlock.allow_path(ruleset, f"/proc/{os.getpid()}", (landlock.READ_FILE | landlock.READ_DIR))
        for descriptor in (0, 1, 2, *context.keep):
            if rights := handled & landlock.rights_of(descriptor):
                landlock.allow_descriptor(ruleset, descriptor, rights)
        syscalls.landlock_restrict_self(ruleset)
    finally:
        os.close(ruleset)
    _verify()


def _verify() -> None:
    """Look at what no policy may show: the root of the file system."""
    try:
        os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except PermissionError:
        return
    raise fail("wall", "Landlock is on and the root of the file system can still be read")


def _add(ruleset: int, rule: reach.Rule, handled: int) -> None:
    kind, path, closed = rule
    if kind == reach.READ:
        landlock.allow_path(ruleset, path, _READ & handled)
    elif kind == reach.DEVICE:
        landlock.allow_path(ruleset, path, _DEVICE & handled)
    else:
        writing = handled & ~(landlock.MAKE_CHAR | landlock.MAKE_BLOCK)
        if not closed:
            landlock.allow_path(ruleset, path, writing)
        elif path not in closed:
            for descriptor in _opened(path, closed):
                try:
                    landlock.allow_descriptor(ruleset, descriptor, writing)
                finally:
                    os.close(descriptor)


def _opened(path: str, closed: tuple[str, ...]) -> Iterator[int]:
    """Open everything below a hollow folder that may be written; the receiver closes each.

    No link is followed: one that leads to where the payload may write needs no rule, any other gets none.
    """
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        for name in os.listdir(folder):  # noqa: PTH208 - a descriptor
            child = f"{path}/{name}"
            if child in closed:
                continue
            if any(place.startswith(child + "/") for place in closed):
                yield from _opened(child, closed)
                continue
            try:
                descriptor = os.open(name, _CHILD, dir_fd=folder)
            except FileNotFoundError:
                continue  # Removed since it was listed.
            if stat.S_ISLNK(os.fstat(descriptor).st_mode):
                os.close(descriptor)
            else:
                yield descriptor
    except OSError as error:
        if error.errno != errno.ENOTDIR:
            raise
    finally:
        os.close(folder)

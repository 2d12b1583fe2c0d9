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
_OWN = ("cmdline", "comm", "fd", "fdinfo", "limits", "maps", "smaps", "stat", "statm", "status")
"""What the command may read of itself; not `net`, `task` and `mountinfo`, which tell of the host. What it
starts has another number, which nobody knows yet, and so no right to its own."""
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
        for name in _OWN:
            landlock.allow_path(ruleset, f"/proc/{os.getpid()}/{name}", _READ & handled & ~landlock.EXECUTE)
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
    if kind == reach.SYSTEM:
        landlock.allow_path(ruleset, path, _READ & handled)
        return
    if kind == reach.DEVICE:
        landlock.allow_path(ruleset, path, _DEVICE & handled)
        return
    try:
        place = _open_exactly(path)
    except FileNotFoundError:
        return
    writing = handled & ~(landlock.MAKE_CHAR | landlock.MAKE_BLOCK)
    try:
        if kind == reach.READ:
            landlock.allow_descriptor(ruleset, place, _READ & handled)
        elif not closed:
            landlock.allow_descriptor(ruleset, place, writing)
        else:
            for descriptor in _open_inside(place, path, closed):
                try:
                    landlock.allow_descriptor(ruleset, descriptor, writing)
                finally:
                    os.close(descriptor)
    finally:
        os.close(place)


def _open_exactly(path: str) -> int:
    """Open what lies at `path` itself, through no link: what was judged is what the right is given to.

    Somebody may exchange a folder for a link in the meantime. Step by step, because an outer sandbox may
    deny openat2. Raises: FileNotFoundError; SetupError for a link.
    """
    place = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in path.split("/"):
        if not part:
            continue
        try:
            inner = os.open(part, _CHILD, dir_fd=place)
        finally:
            os.close(place)
        place = inner
        if stat.S_ISLNK(os.fstat(place).st_mode):
            os.close(place)
            raise fail(
                "wall", f"`{path}` leads through a symbolic link; name the destination", errno=errno.ELOOP
            )
    return place


def _open_inside(folder: int, path: str, closed: tuple[str, ...]) -> Iterator[int]:
    """Open everything below a hollow folder that may be written; the receiver closes each.

    No link is followed: one that leads to where the payload may write needs no rule, any other gets none.
    """
    listing = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        for name in os.listdir(listing):  # noqa: PTH208 - a descriptor
            child = f"{path}/{name}"
            if child in closed:
                continue
            try:
                descriptor = os.open(name, _CHILD, dir_fd=listing)
            except FileNotFoundError:
                continue  # Removed since it was listed.
            if stat.S_ISLNK(os.fstat(descriptor).st_mode):
                os.close(descriptor)
            elif any(place.startswith(child + "/") for place in closed):
                try:
                    yield from _open_inside(descriptor, child, closed)
                finally:
                    os.close(descriptor)
            else:
                yield descriptor
    finally:
        os.close(listing)

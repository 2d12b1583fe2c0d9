"""What is done when a protected name is replaced: tell whether the payload had a part in it, protect again.

One thing is accepted: a regular file that was made in the same folder while the folder was watched, was
opened once and closed once, and was renamed to its name in one step. Careful programs write like that.
The payload could not do that itself, because the name was covered until then; it could touch the file before
or after, and that shows: by a second opening, by somebody who holds it open for writing, or by a second name.

Source: inotify(7), fcntl(2) F_SETLEASE (a read lease is refused while anybody holds the file open for
writing, through whatever descriptor or mapping).
"""

from __future__ import annotations

import errno
import os
import stat
import time

from sandbox.linux import constants as c
from sandbox.linux import syscalls
from sandbox.signals import SIGKILL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from sandbox.linux.guard import Folder

    Key = tuple[int, str]
    """(number of the watched folder, name in it)."""

_HEADER_BYTES = 16
"""`struct inotify_event`: wd, mask, cookie, len; then the name in `len` bytes."""
_OPENED_AND_CLOSED = 2
"""How often a file is used that somebody makes, writes and closes."""
_UNKNOWN = 1 << 30
"""Instead of a number of uses: a file of which it was not seen how it came about."""
_MOST_NAMES = 4096
"""Names that are followed; with more of them none is trusted any more."""
_PATIENCE_SECONDS = 0.3
"""A writer that renames a file in may close it a moment later."""
_SAFE = c.MOUNT_ATTR_NOSUID | c.MOUNT_ATTR_NODEV | c.MOUNT_ATTR_RDONLY


def be_watcher(
    descriptor: int, folders: tuple[Folder, ...], namespaces: tuple[int, ...], telling: int
) -> NoReturn:
    """Protect again what can be, until something is lost; be a process of its own, so that it takes no time.

    It lives in pid 1's user and mount namespace, but not among its processes, and dies with the supervisor.
    """
    supervisor = os.getppid()
    try:
        syscalls.prctl(c.PR_SET_PDEATHSIG, SIGKILL)
        os.setsid()  # A suspended terminal suspends the command, not this.
        syscalls.close_all_but((descriptor, telling, *namespaces))
        for namespace in namespaces:
            syscalls.setns(namespace)
        events = Events(descriptor, folders)
        lost = "" if namespaces and os.getppid() == supervisor else "a protected file"
        while not lost:
            lost = events.react()
            if not lost:
                syscalls.wait_readable(descriptor)
        os.write(telling, os.fsencode(lost))
    finally:
        os._exit(0)  # The end of the pipe says that something is wrong, if nothing else did.


class Events:
    """Follows the names in the watched folders. All paths are those inside."""

    def __init__(self, descriptor: int, folders: tuple[Folder, ...]) -> None:
        self._descriptor = descriptor
        self._folders = [folder for folder, _ in folders]
        self._guarded: dict[Key, str] = {
            (number, name): inside for number, (_, names) in enumerate(folders, 1) for name, inside in names
        }
        self._uses: dict[Key, int] = {}
        self._moves: dict[int, tuple[Key, int]] = {}
        """By the cookie that the two halves of a rename share: where from, and the uses until then."""
        self._open: set[Key] = set()
        """Replaced, and not known to be protected again."""
        self._overflown = self._confused = False
        self._lost = ""

    def react(self) -> str:
        """Return the path that was lost, or nothing if everything is protected."""
        self._read()
        while self._open and not self._lost:
            opened = list(self._open)
            for key in opened:
                if not _protect(self._guarded[key]):
                    return self._guarded[key]
            # What happened until the mount was there happened to an open name.
            self._read()
            if not self._lost:
                self._settle(opened)
        if self._overflown and not self._lost:
            self._overflown, self._confused = False, True
            gone = [path for path in self._guarded.values() if not _is_read_only(path)]
            self._lost = gone[0] if gone else ""
        return self._lost

    def _read(self) -> None:
        while True:
            try:
                content = os.read(self._descriptor, 65536)
            except BlockingIOError:
                return
            position = 0
            while position < len(content):
                words = [
                    int.from_bytes(content[position + at : position + at + 4], "little")
                    for at in range(0, 16, 4)
                ]
                position += _HEADER_BYTES + words[3]
                name = os.fsdecode(content[position - words[3] : position].rstrip(b"\0"))
                self._follow((words[0], name), words[1], words[2])

    def _follow(self, key: Key, mask: int, cookie: int) -> None:
        """Take in one event."""
        if mask & c.IN_Q_OVERFLOW:
            self._overflown = True
        elif mask & (c.IN_UNMOUNT | c.IN_DELETE_SELF | c.IN_MOVE_SELF):
            self._lost = self._folders[key[0] - 1]
        elif key in self._guarded:
            self._follow_guarded(key, mask, cookie)
        elif mask & (c.IN_OPEN | c.IN_CLOSE_WRITE):
            if key in self._uses:
                self._uses[key] += 1
        elif mask & c.IN_CREATE:
            self._uses.setdefault(key, 0)
        elif mask & c.IN_MOVED_FROM:
            self._moves[cookie] = (key, self._uses.get(key, _UNKNOWN))
            self._uses[key] = _UNKNOWN
        elif mask & (c.IN_MOVED_TO | c.IN_DELETE):
            # Whoever takes the name next is not to be taken for the one who had it.
            self._uses[key] = _UNKNOWN
        if len(self._uses) > _MOST_NAMES or len(self._moves) > _MOST_NAMES:
            self._uses.clear()
            self._moves.clear()
            self._confused = True

    def _follow_guarded(self, key: Key, mask: int, cookie: int) -> None:
        """Take in what happened to a protected name."""
        if mask & c.IN_OPEN or (mask & c.IN_CLOSE_WRITE and key not in self._open):
            return  # Read, or written in its place, which the mount on it lets nobody inside do.
        origin, uses = self._moves.pop(cookie, (key, _UNKNOWN)) if mask & c.IN_MOVED_TO else (key, _UNKNOWN)
        if uses > _OPENED_AND_CLOSED or self._confused or key in self._open or mask & c.IN_ISDIR:
            self._lost = self._guarded[key]
            return
        self._uses.pop(origin, None)  # The next who writes beside this file may use the same name.
        self._open.add(key)

    def _settle(self, opened: list[Key]) -> None:
        """Accept what was protected again, if nobody can write to it by another way."""
        for key in opened:
            if not _is_untouched(self._guarded[key]):
                self._lost = self._guarded[key]
                return
            self._open.discard(key)


def _protect(path: str) -> bool:
    """Make a path a read-only mount of itself, in every namespace of the sandbox; say whether it is."""
    try:
        here = _walk(path)
        copy = syscalls.open_tree(here, "", c.OPEN_TREE_CLONE | c.AT_EMPTY_PATH | os.O_CLOEXEC)
        syscalls.mount_setattr(copy, 0, _SAFE)
        syscalls.move_mount(copy, here)
        os.close(copy)
        os.close(here)
    except OSError:
        return False
    return _is_read_only(path)


def _walk(path: str) -> int:
    """An O_PATH descriptor, without passing through any link."""
    resolve = c.RESOLVE_NO_SYMLINKS | c.RESOLVE_NO_MAGICLINKS
    return syscalls.openat2(c.AT_FDCWD, path, os.O_PATH | os.O_CLOEXEC, resolve)


def _is_read_only(path: str) -> bool:
    """Whether the topmost mount at `path` is; what a mount further up covers cannot be written either."""
    try:
        here = _walk(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    try:
        return bool(os.fstatvfs(here).f_flag & os.ST_RDONLY)
    finally:
        os.close(here)


def _is_untouched(path: str) -> bool:
    """Whether a file has one name, and nobody holds it open for writing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            return False
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                syscalls.set_lease(descriptor, c.F_RDLCK)
                syscalls.set_lease(descriptor, c.F_UNLCK)
            except OSError as error:
                if error.errno != errno.EAGAIN or time.monotonic() > deadline:
                    return False
                time.sleep(0.01)
            else:
                return True
    finally:
        os.close(descriptor)

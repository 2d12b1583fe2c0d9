"""The private folder of a sandbox that cannot mount one: the payload's home and temporary files.

It is removed when the sandbox ends. The lock on it ends with the last process of ours, however that ends, so
a folder that a crash left is told from one in use, and the next sandbox of the same user removes it.
"""

from __future__ import annotations

import os
import shutil
import stat

from sandbox.linux import constants as c
from sandbox.linux import syscalls

PREFIX = "sandbox-private-"
"""Before sixteen digits: what is called so is removed when nobody holds it, and the user may well have a
folder `sandbox-notes` there."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class PrivateFolder:
    """Made with the object; `remove` may be called from any process that was forked since, and twice."""

    __slots__ = ("_lock", "home", "path", "temporary")

    def __init__(self, parent: str, links: tuple[tuple[str, str], ...]) -> None:
        """`links` are made in the home: (path below it, destination). Raises: OSError."""
        _sweep(parent)
        self.path, self._lock = _make(parent)
        try:
            self.home, self.temporary = f"{self.path}/home", f"{self.path}/temporary"
            for folder in (self.home, self.temporary):
                os.mkdir(folder, 0o700)  # noqa: PTH102
            for below, destination in links:
                os.makedirs(os.path.dirname(f"{self.home}/{below}"), 0o700, exist_ok=True)  # noqa: PTH103, PTH120
                os.symlink(destination, f"{self.home}/{below}")  # noqa: PTH211
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Remove all of it, also what the payload made unreadable."""
        _remove(self.path)


def _make(parent: str) -> tuple[str, int]:
    """A new folder and a locked descriptor of it.

    The race: somebody may sweep between our making and our locking, and takes the folder for one that was
    left behind. Then it is gone when the lock is ours, and another one is made.
    """
    while True:
        path = f"{parent}/{PREFIX}{os.urandom(8).hex()}"
        os.mkdir(path, 0o700)  # noqa: PTH102 - no pathlib in the helper
        descriptor = os.open(path, _FOLDER)
        syscalls.flock(descriptor, c.LOCK_SH)
        if os.path.exists(path):  # noqa: PTH110
            return path, descriptor
        os.close(descriptor)


def _sweep(parent: str) -> None:
    """Remove folders of this user whose sandbox is gone."""
    with os.scandir(parent) as entries:
        left = [entry.path for entry in entries if _is_ours(entry.name)]
    for path in left:
        try:
            descriptor = os.open(path, _FOLDER)
        except OSError:
            continue
        try:
            if os.fstat(descriptor).st_uid == os.geteuid():
                syscalls.flock(descriptor, c.LOCK_EX | c.LOCK_NB)
                _remove(path)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)


def _is_ours(name: str) -> bool:
    digits = name.removeprefix(PREFIX)
    return len(digits) == 16 == len(name) - len(PREFIX) and not digits.strip("0123456789abcdef")


def _remove(path: str) -> None:
    """`rmtree` follows no link; a folder without rights is opened to its owner first."""
    for folder, names, _ in os.walk(path, topdown=True):
        for name in names:
            inner = f"{folder}/{name}"
            status = os.lstat(inner)
            if stat.S_ISDIR(status.st_mode) and status.st_mode & 0o700 != 0o700:
                os.chmod(inner, 0o700)  # noqa: PTH101 - no link, and nothing runs any more that could make it one
    shutil.rmtree(path, ignore_errors=True)

"""Notices when somebody outside replaces what is protected inside, which takes the protection away.

The kernel takes a mount off a name that is renamed over or removed, in every namespace, and the payload may
write to what lies around it. So the folders that hold such names are watched. What came to its name whole and
untouched by the payload is protected again; of everything else that cannot be said, and the run is ended.
`docs/design/0016-replaced-from-outside.md` tells why, and what this cannot see.

This is the part that every run needs; `guard_events.py` is loaded when something happens.
"""

from __future__ import annotations

import errno
import os

from sandbox.linux import constants as c
from sandbox.linux import syscalls
from sandbox.linux.context import Context, fail
from sandbox.signals import SIGKILL

TYPE_CHECKING = False
if TYPE_CHECKING:
    Folder = tuple[str, tuple[tuple[str, str], ...]]
    """(folder on the host, ((name in it, path inside), ...))."""

QUIET_SECONDS = 0.1
"""A command that lasts so long gives the supervisor time to get ready."""
_ANYTHING = "a protected file"
"""Said when the watcher is gone."""
_WATCHED = (
    c.IN_OPEN
    | c.IN_CLOSE_WRITE
    | c.IN_MOVED_FROM
    | c.IN_MOVED_TO
    | c.IN_CREATE
    | c.IN_DELETE
    | c.IN_DELETE_SELF
    | c.IN_MOVE_SELF
    | c.IN_ONLYDIR
    | c.IN_DONT_FOLLOW
)


class Guard:
    """The supervisor's side. It costs nothing where nothing is protected."""

    __slots__ = ("_folders", "_namespaces", "_told", "_watcher", "descriptor", "lost")

    def __init__(self, folders: tuple[Folder, ...]) -> None:
        self._folders = folders
        self._namespaces: tuple[int, ...] = ()
        """Descriptors of the user and the mount namespace of pid 1, which has power over the mounts."""
        self._watcher = 0
        """The process that `guard_events.py` is."""
        self._told = -1
        """Read end of the pipe on which it says what was lost."""
        self.lost = ""
        """The path inside of which nobody can say any more that the payload did not write it."""
        self.descriptor = syscalls.new_watch() if folders else -1
        """Pid 1 adds the folders: what happens there before the mounts are made is of no interest."""

    def begin(self, init: int) -> None:
        """Be told by SIGIO. Pid 1 is not hardened yet, so its namespaces can be opened."""
        if self.descriptor < 0:
            return
        flags = os.O_RDONLY | os.O_CLOEXEC
        try:
            self._namespaces = tuple(os.open(f"/proc/{init}/ns/{kind}", flags) for kind in ("user", "mnt"))
        except OSError as error:
            # It is dead already, and the report says why. Were it alive, nothing could be protected again,
            # and whatever is replaced would end the run.
            if error.errno not in (errno.ENOENT, errno.ESRCH, errno.EACCES):
                raise
        syscalls.signal_when_readable(self.descriptor)

    @property
    def wants_time(self) -> bool:
        """Whether `prepare` has something to do."""
        return self.descriptor >= 0 and not self._watcher

    def prepare(self) -> None:
        """Fork the watcher: when something happens, there is no time for it."""
        from sandbox.linux import guard_events

        syscalls.signal_no_more(self.descriptor)
        self._told, telling = os.pipe()
        self._watcher = os.fork()
        if self._watcher == 0:
            guard_events.be_watcher(self.descriptor, self._folders, self._namespaces, telling)
        os.close(telling)
        syscalls.signal_when_readable(self._told)

    def is_intact(self) -> bool:
        """Whether the run may go on; something may have happened."""
        if self.wants_time:
            self.prepare()
        if self._told >= 0 and not self.lost:
            try:
                self.lost = os.fsdecode(os.read(self._told, 65536)) or _ANYTHING
            except BlockingIOError:
                return True
        return not self.lost

    def close(self) -> None:
        """Let the namespaces go: they would keep the mounts alive.

        The keeper still has the watch open (see `Keeper.start`), so that has to be told to keep silent.
        """
        if self._watcher:
            os.kill(self._watcher, SIGKILL)
            os.waitpid(self._watcher, 0)
        if self.descriptor >= 0:
            syscalls.signal_no_more(self.descriptor)
        for descriptor in (self.descriptor, self._told, *self._namespaces):
            if descriptor >= 0:
                os.close(descriptor)
        self.descriptor, self._told, self._watcher, self._namespaces = -1, -1, 0, ()


def watch(context: Context, folders: tuple[str, ...]) -> None:
    """In pid 1: watch the folders, in the order in which the supervisor counts them from 1."""
    for number, folder in enumerate(folders, 1):
        try:
            given = syscalls.add_watch(context.guard, folder, _WATCHED)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                hint = "raise `fs.inotify.max_user_watches`"
                raise fail("guard", f"`{folder}` cannot be watched", errno=errno.ENOSPC, hint=hint) from None
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
            # A folder further up is covered as a whole. Its number is used up all the same.
            given = syscalls.add_watch(context.guard, "/", c.IN_DELETE_SELF)
            syscalls.remove_watch(context.guard, given)
        if given != number:
            raise fail("guard", f"`{folder}` is watched under another name already")
    os.close(context.guard)


def share(context: Context, paths: tuple[str, ...]) -> None:
    """Let mounts that pid 1's namespace gets later appear in the payload's as well, and not the other way.

    The payload's user namespace owns its mounts less than this one does, so its copies are slaves of these.
    """
    for path in paths:
        if path not in context.covered:
            syscalls.mount(None, path, None, c.MS_SHARED)

"""The process that holds placeholders, so that they go away whatever happens to the supervisor.

It is forked only where a placeholder is needed. It removes them when pid 1 is dead and not before: removing
a mount point detaches what is mounted on it, and a payload that still ran could then write there.

It makes them while pid 1 is still at other things; pid 1 waits for it (`wait_for`) before the first mount
that may stand on one.
"""

from __future__ import annotations

import gc
import os

from sandbox.linux import placeholders, report, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_READY = b"k"


class Keeper:
    """The supervisor's handle on it; without a process where there is nothing to keep."""

    __slots__ = ("_entries", "_pid", "_released", "ready", "told")

    def __init__(self, entries: tuple[placeholders.Entry, ...]) -> None:
        self._entries = entries
        self._pid = 0
        self._released = -1
        """The read end of the pipe on which it says that every placeholder is gone."""
        self.ready = self.told = -1
        """The pipe on which it says that every placeholder is there, by its ends; -1 if none is needed."""
        if placeholders.missing(entries):
            self.ready, self.told = os.pipe()

    def start(self, init: int, *, failures: int, lifeline: int, watch: int) -> None:
        """Fork it, to remove what it makes when `init` is dead; a failure is told on the pipe `failures`.

        It comes after pid 1, which has other things to do first. Its copy of the lifeline's write end must be
        gone before pid 1 looks for the last time, which is after it was told that everything is ready.

        It keeps the guard's `watch` open, if there is one, so that the supervisor does not close it last: the
        last close waits until no processor can still be looking at the watched folders, 10 to 20 ms.
        """
        if self.ready < 0:
            return
        self._released, releasing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(lifeline)
            _keep(self._entries, init, (self.told, releasing), failures, watch)
        os.close(releasing)
        self.forget()

    def forget(self) -> None:
        """Close the pipe, which belongs to pid 1 and the keeper."""
        if self.ready >= 0:
            os.close(self.ready)
            os.close(self.told)
            self.ready = self.told = -1

    def close(self) -> None:
        """Wait until it has removed what it held; its own end, some milliseconds of giving back memory, is
        not waited for."""
        self.forget()
        if self._pid:
            os.read(self._released, 1)  # Or the end of the pipe, if it was killed.
            os.close(self._released)
            os.waitpid(self._pid, os.WNOHANG)
            self._pid = 0


def wait_for(ready: int) -> bool:
    """In pid 1: wait until the placeholders are there; False if they could not be made."""
    if ready < 0:
        return True
    said = os.read(ready, 1)
    os.close(ready)
    return said == _READY


def _keep(
    entries: tuple[placeholders.Entry, ...], init: int, pipes: tuple[int, int], failures: int, watch: int
) -> NoReturn:
    """Be the keeper: acquire, say so, wait for the end of `init`, release, say so."""
    gc.disable()  # As in pid 1: a collection would copy the supervisor's memory.
    ready, releasing = pipes
    try:
        os.setsid()
        watched = _open_process(init)
        # What else the supervisor has open is none of its business: the streams end with the command.
        syscalls.close_all_but((ready, releasing, failures, watched, watch))
        try:
            held = placeholders.acquire(entries)
        except OSError as error:
            report.send_failure(failures, "placeholders", error)
            raise
        os.close(failures)  # The supervisor reads the report until its last writer has gone.
        _say(ready)  # Pid 1 may be dead already, and the supervisor with it: there is all the more to remove.
        os.close(ready)
        if watched >= 0:
            syscalls.wait_readable(watched)
        # Their names are gone with this call; their blocks go with this process, for which nobody waits.
        placeholders.release(held)
        _say(releasing)
    finally:
        os._exit(0)


def _say(pipe: int) -> None:
    """Write the one word, to somebody who may be gone."""
    try:
        os.write(pipe, _READY)
    except BrokenPipeError:
        return


def _open_process(pid: int) -> int:
    """A descriptor of a process, -1 if it is dead already."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return -1

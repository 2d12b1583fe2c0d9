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

    __slots__ = ("_pid", "_pipe", "ready")

    def __init__(self, pid: int, pipe: int, ready: int) -> None:
        self._pid = pid
        self._pipe = pipe
        self.ready = ready
        """Read end of the pipe on which it says that every placeholder is there, -1 where none is needed."""

    def watch(self, init: int) -> None:
        """Name the process that must be dead before anything is removed."""
        if self._pid:
            self._forget_ready()
            try:
                os.write(self._pipe, init.to_bytes(4, "little"))
            except BrokenPipeError:
                return  # It could not make what is needed and has said so; pid 1 finds out and ends.

    def close(self) -> None:
        """Wait until it has removed what it held; without a process to watch it does so at once."""
        if self._pid:
            self._forget_ready()
            os.close(self._pipe)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def _forget_ready(self) -> None:
        """Pid 1 has it now; the supervisor never reads it."""
        if self.ready >= 0:
            os.close(self.ready)
            self.ready = -1


def start(entries: tuple[placeholders.Entry, ...], told: int) -> Keeper:
    """Have the placeholders made that are needed; a failure is told on the report pipe `told`."""
    if not placeholders.missing(entries):
        return Keeper(0, -1, -1)
    ready_read, ready_write = os.pipe()
    pipe_read, pipe_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready_read)
        os.close(pipe_write)
        _keep(entries, ready_write, pipe_read, told)
    os.close(ready_write)
    os.close(pipe_read)
    return Keeper(pid, pipe_write, ready_read)


def wait_for(ready: int) -> bool:
    """In pid 1: wait until the placeholders are there; False if they could not be made."""
    if ready < 0:
        return True
    said = os.read(ready, 1)
    os.close(ready)
    return said == _READY


def _keep(entries: tuple[placeholders.Entry, ...], ready: int, pipe: int, told: int) -> NoReturn:
    """Be the keeper: acquire, say so, wait, release."""
    gc.disable()  # As in pid 1: a collection would copy the supervisor's memory.
    try:
        os.setsid()
        try:
            held = placeholders.acquire(entries)
        except OSError as error:
            report.send_failure(told, "placeholders", error)
            raise
        # The supervisor reads the report until its last writer has gone.
        for descriptor in {0, 1, 2, told} - {ready, pipe}:
            _close(descriptor)
        os.write(ready, _READY)
        os.close(ready)
        _wait(pipe)
        placeholders.release(held)
    finally:
        os._exit(0)


def _close(descriptor: int) -> None:
    """Close what the caller may have closed already."""
    try:
        os.close(descriptor)
    except OSError:
        return


def _wait(pipe: int) -> None:
    """Return when pid 1 is dead, or was never there."""
    told = os.read(pipe, 4)
    if len(told) < 4:
        return
    try:
        init = os.pidfd_open(int.from_bytes(told, "little"))
    except ProcessLookupError:
        return
    syscalls.wait_readable(init)

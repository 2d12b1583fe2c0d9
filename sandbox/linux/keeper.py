"""The process that holds placeholders, so that they go away whatever happens to the supervisor.

It is forked only where a placeholder is needed. It removes them when pid 1 is dead and not before: removing
a mount point detaches what is mounted on it, and a payload that still ran could then write there.
"""

from __future__ import annotations

import os

from sandbox.linux import placeholders, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class Keeper:
    """The supervisor's handle on it; without a process where there is nothing to keep."""

    __slots__ = ("_pid", "_pipe")

    def __init__(self, pid: int, pipe: int) -> None:
        self._pid = pid
        self._pipe = pipe

    def watch(self, init: int) -> None:
        """Name the process that must be dead before anything is removed."""
        if self._pid:
            os.write(self._pipe, init.to_bytes(4, "little"))

    def close(self) -> None:
        """Let it remove what it holds, and wait until it has."""
        if self._pid:
            os.close(self._pipe)
            os.waitpid(self._pid, 0)
            self._pid = 0


def start(entries: tuple[placeholders.Entry, ...]) -> Keeper:
    """Make the placeholders that are needed. Raises: SetupError."""
    if not placeholders.missing(entries):
        return Keeper(0, -1)
    ready_read, ready_write = os.pipe()
    pipe_read, pipe_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready_read)
        os.close(pipe_write)
        _keep(entries, ready_write, pipe_read)
    os.close(ready_write)
    os.close(pipe_read)
    told = report.receive(ready_read)
    os.close(ready_read)
    if told:
        os.close(pipe_write)
        os.waitpid(pid, 0)
        raise report.as_error(told[0])
    return Keeper(pid, pipe_write)


def _keep(entries: tuple[placeholders.Entry, ...], ready: int, pipe: int) -> NoReturn:
    """Be the keeper: acquire, say so, wait, release."""
    try:
        os.setsid()
        held = placeholders.acquire(entries)
        for descriptor in (0, 1, 2):
            if descriptor not in (ready, pipe):
                _close(descriptor)
        os.close(ready)
        _wait(pipe)
        placeholders.release(held)
    except OSError as error:
        report.send_failure(ready, "placeholders", error)
    finally:
        os._exit(0)


def _close(descriptor: int) -> None:
    """Close a standard stream that the caller may have closed already."""
    try:
        os.close(descriptor)
    except OSError:
        return


def _wait(pipe: int) -> None:
    """Return when the supervisor is gone or done, and pid 1 is dead."""
    told = os.read(pipe, 4)
    if len(told) < 4:
        return
    try:
        init = os.pidfd_open(int.from_bytes(told, "little"))
    except ProcessLookupError:
        init = -1
    while os.read(pipe, 1):
        pass
    if init >= 0:
        import select

        poll = select.poll()
        poll.register(init, select.POLLIN)
        poll.poll()

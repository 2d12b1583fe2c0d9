"""A running sandbox, seen from outside: wait, signal, kill, and what it uses."""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import signal
import subprocess
import time
from typing import Protocol

from sandbox.command import ExitStatus, Usage
from sandbox.errors import SetupError

_KILL_GRACE_SECONDS = 5.0
"""The helper needs milliseconds to take a sandbox down; after this it is killed itself, which does it too."""


class Helper(Protocol):
    """The supervisor's process. Fits `subprocess.Popen`."""

    @property
    def pid(self) -> int:
        """The host's pid."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code, negative for a signal. Raises: subprocess.TimeoutExpired."""
        ...

    def send_signal(self, number: int, /) -> None:
        """Send a signal, unless it has ended."""

    def kill(self) -> None:
        """End it at once."""


class Process:
    """One sandbox. Leaving its `with` block, or the end of this process, ends what runs inside."""

    def __init__(self, *, helper: Helper, lifeline: int, result: int) -> None:
        self._helper = helper
        self._lifeline = lifeline
        self._result = result
        self._told = b""
        self._status: ExitStatus | None = None
        self._failure: SetupError | None = None

    @property
    def pid(self) -> int:
        """The host's pid of the helper, which ends when the sandbox does."""
        return self._helper.pid

    def pidfd(self) -> int:
        """A new descriptor that becomes readable when the sandbox has ended; the caller closes it."""
        return os.pidfd_open(self._helper.pid)

    @property
    def usage(self) -> Usage:
        """What the whole tree uses now, or used if it has ended.

        While it runs there is no kernel account of a whole tree, so psutil adds up the processes that are
        alive; what has already ended inside is not in it.
        """
        if self._status is not None:
            return self._status.usage
        import psutil

        user = system = 0.0
        memory = 0
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._helper.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = child.cpu_times()
                    user, system = user + times.user, system + times.system
                    memory += child.memory_info().rss
        return Usage(user_seconds=user, system_seconds=system, peak_memory_bytes=memory)

    def poll(self) -> ExitStatus | None:
        """How it ended, or None while it runs. Raises: SetupError."""
        try:
            return self.wait(timeout=0.0)
        except TimeoutError:
            return None

    def wait(self, timeout: float | None = None) -> ExitStatus:
        """Wait for the end, at most `timeout` seconds.

        Raises: SetupError if the sandbox could not be made; TimeoutError, and it goes on running.
        """
        if self._failure is not None:
            raise self._failure
        if self._status is None:
            self._read_result(None if timeout is None else time.monotonic() + timeout)
            returncode = self._helper.wait()
            self._close()
            self._conclude(returncode)
        if self._failure is not None:
            raise self._failure
        assert self._status is not None
        return self._status

    def send_signal(self, number: int) -> None:
        """Send a signal to the command, not to the helper; nothing happens if it has ended."""
        if self._status is None and self._failure is None:
            self._helper.send_signal(number)

    def terminate(self) -> None:
        """Ask the command to end (SIGTERM)."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End everything inside at once, and clean up."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        try:
            self._helper.wait(_KILL_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._helper.kill()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is None and self._failure is None:
            self.kill()
            with contextlib.suppress(SetupError):
                self.wait()

    def _read_result(self, deadline: float | None) -> None:
        """Read the helper's result to its end. Raises: TimeoutError."""
        poll = select.poll()
        poll.register(self._result, select.POLLIN)
        while True:
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            if not poll.poll(remaining):
                raise TimeoutError("the sandbox is still running")
            block = os.read(self._result, 65536)
            if not block:
                return
            self._told += block

    def _close(self) -> None:
        """Close what tied us to the helper."""
        os.close(self._result)
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def _conclude(self, returncode: int) -> None:
        """Turn what the helper told into a status or a failure."""
        if not self._told:
            # The helper was killed, by a signal of ours before it was ready or by somebody else.
            if returncode < 0:
                self._status = ExitStatus(signal=-returncode)
            else:
                message = f"the sandbox's helper ended with {returncode} before it could report"
                self._failure = SetupError(message, stage="helper")
            return
        kind, *told = marshal.loads(self._told)  # noqa: S302 - written by our own helper
        if kind == "failed":
            stage, number, message, hint = told
            self._failure = SetupError(
                str(message), stage=str(stage), errno=int(number), hint=str(hint) or None
            )
        else:
            self._status = ExitStatus.from_told(told[0])

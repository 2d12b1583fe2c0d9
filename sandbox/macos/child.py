"""A running sandbox of platforms where the command is an ordinary child: no helper stands between."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable

from sandbox.command import ExitStatus, Usage
from sandbox.process import Process


class ChildProcess(Process):
    """A child in a session of its own. `clean_up` is called once, when it has ended."""

    def __init__(
        self, child: subprocess.Popen[bytes], *, limit_seconds: float | None, clean_up: Callable[[], None]
    ) -> None:
        self._child = child
        self._clean_up: Callable[[], None] | None = clean_up
        self._ended: ExitStatus | None = None
        self._timed_out = False
        self._timer = None if limit_seconds is None else threading.Timer(limit_seconds, self._time_is_up)
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()

    @property
    def pid(self) -> int:
        """The command's own pid."""
        return self._child.pid

    @property
    def usage(self) -> Usage:
        """Nothing is known here before the end."""
        return Usage() if self._ended is None else self._ended.usage

    def wait(self, timeout: float | None = None) -> ExitStatus:
        """Wait for the end, at most `timeout` seconds. Raises: TimeoutError, and it goes on running."""
        if self._ended is not None:
            return self._ended
        try:
            code = self._child.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError("the sandbox is still running") from error
        self._finish()
        self._ended = ExitStatus(
            code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            timed_out=self._timed_out,
            limit="wall_clock_seconds" if self._timed_out else None,
        )
        return self._ended

    def send_signal(self, number: int) -> None:
        """Send a signal to the command; nothing happens if it has ended."""
        if self._ended is None:
            self._child.send_signal(number)

    def kill(self) -> None:
        """End the command and what is still in its session's group."""
        self._kill_group()

    def __exit__(self, *_: object) -> None:
        if self._ended is None:
            self.kill()
            self.wait()

    def _time_is_up(self) -> None:
        self._timed_out = True
        self._kill_group()

    def _kill_group(self) -> None:
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return

    def _finish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._kill_group()  # What the command left in its group goes with it.
        if self._clean_up is not None:
            self._clean_up()
            self._clean_up = None

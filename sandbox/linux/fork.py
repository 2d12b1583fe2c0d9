"""Starts a sandbox beside this process without a helper interpreter: its supervisor is a fork of this one.

That is for a process with a single thread, which is what a helper is started for; it saves the start of an
interpreter and the loading of everything that this process has loaded already.
"""

from __future__ import annotations

import os
import select

from sandbox import signals
from sandbox.linux import serve, syscalls
from sandbox.linux.launch import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from sandbox.linux.operations import Plan
    from sandbox.process import Process

_GRACE_SECONDS = 5.0
"""As in `sandbox.process`: the supervisor needs milliseconds to take a sandbox down."""


class Forked:
    """The supervisor of one sandbox. The end of this process ends it, too."""

    __slots__ = ("_lifeline", "_result", "_returncode", "pid")

    def __init__(self, pid: int, *, lifeline: int, result: int) -> None:
        self.pid = pid
        self._lifeline = lifeline
        self._result = result
        self._returncode: int | None = None

    def end(self) -> None:
        """End everything inside at once, and wait until it is gone; callable twice."""
        if self._lifeline < 0:
            return
        os.close(self._lifeline)
        self._lifeline = -1
        if not self._has_ended(_GRACE_SECONDS):
            self.kill()
        os.close(self._result)

    def as_process(self) -> Process:
        """Hand the sandbox over to the class that can wait for it and say how it ended."""
        from sandbox.process import Process

        process = Process(helper=self, lifeline=self._lifeline, result=self._result)
        self._lifeline = -1
        return process

    # What `Process` asks of its helper ---------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> int:
        """Return the supervisor's own exit code, negative for a signal. Raises: TimeoutExpired."""
        if self._returncode is None and not self._has_ended(timeout):
            import subprocess

            raise subprocess.TimeoutExpired("sandbox", timeout or 0.0)
        assert self._returncode is not None
        return self._returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the command by way of the supervisor, unless that has ended."""
        if self._returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the supervisor itself, and with it what runs inside."""
        if self._returncode is None:
            os.kill(self.pid, signals.SIGKILL)
            self._has_ended(None)

    def _has_ended(self, timeout_seconds: float | None) -> bool:
        if self._returncode is None and timeout_seconds is not None:
            watched = os.pidfd_open(self.pid)
            poll = select.poll()
            poll.register(watched, select.POLLIN)
            came = poll.poll(timeout_seconds * 1000)
            os.close(watched)
            if not came:
                return False
        if self._returncode is None:
            self._returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return True


def fork_plan(plan: Plan, argv: tuple[str, ...], streams: tuple[int, int, int], cwd: str = "/") -> Forked:
    """Start a prepared plan from this process, which must have a single thread, and go on.

    `streams` become 0, 1 and 2 inside; they stay open here. A set-up that fails is told by `Process.wait`.

    Raises: OSError.
    """
    if plan["outside"]:
        # Loaded before the fork: several of them would load it each for itself.
        from sandbox.linux import limiting, outside  # noqa: F401
    lifeline_read, lifeline_write = os.pipe()
    result_read, result_write = os.pipe()
    mask = signals.block()
    try:
        pid = os.fork()
        if pid == 0:
            _be_supervisor(plan, Request(argv, cwd), streams, (lifeline_read, result_write))
    except BaseException:
        os.close(lifeline_write)
        os.close(result_read)
        raise
    finally:
        signals.restore(mask)
        os.close(lifeline_read)
        os.close(result_write)
    return Forked(pid, lifeline=lifeline_write, result=result_read)


def _be_supervisor(
    plan: Plan, request: Request, streams: tuple[int, int, int], pipes: tuple[int, int]
) -> NoReturn:
    """The child: keep nothing of the caller's open, and serve the plan."""
    try:
        os.setsid()
        os.chdir("/")
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
        # A copy of another sandbox's lifeline would keep that one alive.
        syscalls.close_all_but((0, 1, 2, *pipes))
        request.lifeline, result = pipes
        serve.serve(plan, request, result)
    finally:
        os._exit(1)

"""The backend of Windows: a job object and a restricted token. No orphan and fewer rights, never hermetic."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from typing import Any

from sandbox.backend import Coverage
from sandbox.command import Command, ExitStatus, Usage
from sandbox.errors import UnsupportedError
from sandbox.policy import Guarantee, Isolation, Policy
from sandbox.process import Process
from sandbox.windows import job

KILLED = 0xC000013A
"""STATUS_CONTROL_C_EXIT of ntstatus.h: what an ended job's processes exit with."""
SYSTEM_VARIABLES = ("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "NUMBER_OF_PROCESSORS")
"""Without them hardly a program of Windows starts; they tell nothing of the user."""


class JobObject:
    """What the command starts ends with it, and nothing has privileges or an administrator's rights."""

    isolation = Isolation.JOB

    def coverage(self) -> Coverage:
        """No orphan, and a clean environment."""
        notes = (
            "files and network are those of the caller, without an administrator's rights",
            "the clipboard, desktops and other processes' windows are out of reach",
        )
        return Coverage(guarantees=frozenset({Guarantee.ENVIRONMENT}), notes=notes)

    def prepare(self, policy: Policy, machine: str) -> dict[str, Any]:
        """Raises: UnsupportedError: a job belongs to one run."""
        raise UnsupportedError("a job object is made for each run", hint="use `run` or `spawn`")

    def spawn(self, policy: Policy, command: Command) -> Process:
        """Start `command` under `policy`. Raises: UnsupportedError; OSError."""
        job.check(policy)
        return _start(policy, command)


def environment(policy: Policy, private: str, system: dict[str, str]) -> dict[str, str]:
    """The payload's whole environment: the policy's, what Windows itself needs, and private folders."""
    needed = {name: system[name] for name in SYSTEM_VARIABLES if name in system}
    temporary = f"{private}\\temporary"
    variables = {**needed, **dict(policy.environment), "TEMP": temporary, "TMP": temporary}
    if policy.home is not None:
        home = f"{private}\\home"
        variables |= {"HOME": home, "USERPROFILE": home, "APPDATA": home, "LOCALAPPDATA": home}
    return variables


def _start(policy: Policy, command: Command) -> Process:
    from sandbox.windows import calls

    private = tempfile.mkdtemp(prefix="sandbox-")
    handle = calls.create_job(job.extended_limits(policy.limits))
    try:
        for name in ("home", "temporary"):
            os.mkdir(f"{private}\\{name}")  # noqa: PTH102
        block = job.environment_block(environment(policy, private, dict(os.environ)))
        inherited = [_inheritable(_given(number, default)) for number, default in _streams(command)]
        inherited += [_inheritable(number) for number in command.pass_fds]
        token = calls.restricted_token()
        try:
            line = job.command_line(command.argv)
            started = calls.create_process(token, line, block, command.cwd, inherited)
        finally:
            calls.close(token)
        try:
            calls.assign_and_resume(handle, started)
        except OSError:
            calls.terminate_process(started.process)
            raise
        finally:
            calls.close(started.thread)
    except BaseException:
        calls.close(handle)
        shutil.rmtree(private, ignore_errors=True)
        raise
    return JobProcess(handle, started, private, limit_seconds=policy.limits.wall_clock_seconds)


def _streams(command: Command) -> tuple[tuple[int | None, int], ...]:
    return ((command.stdin, 0), (command.stdout, 1), (command.stderr, 2))


def _given(number: int | None, default: int) -> int:
    return default if number is None else number


def _inheritable(descriptor: int) -> int:
    """The Windows handle behind a descriptor, made inheritable."""
    if sys.platform != "win32":
        raise OSError("there are no handles here")
    import msvcrt

    handle = msvcrt.get_osfhandle(descriptor)
    os.set_handle_inheritable(handle, True)
    return handle


class JobProcess(Process):
    """A running job; closing its last handle, or the end of this process, ends what runs inside."""

    def __init__(
        self, handle: int, started: job.ProcessInformation, private: str, *, limit_seconds: float | None
    ) -> None:
        self._handle = handle
        self._process = int(started.process)
        self._process_id = int(started.process_id)
        self._private = private
        self._deadline = None if limit_seconds is None else time.monotonic() + limit_seconds
        self._ended: ExitStatus | None = None

    @property
    def pid(self) -> int:
        """The command's pid."""
        return self._process_id

    @property
    def usage(self) -> Usage:
        """Not asked for yet: the job keeps the account."""
        return Usage()

    def wait(self, timeout: float | None = None) -> ExitStatus:
        """Wait for the end, at most `timeout` seconds. Raises: TimeoutError, and it goes on running."""
        from sandbox.windows import calls

        until = None if timeout is None else time.monotonic() + timeout
        timed_out = False
        while self._ended is None:
            nearest = min((moment for moment in (until, self._deadline) if moment is not None), default=None)
            left = 500 if nearest is None else max(0, min(500, int((nearest - time.monotonic()) * 1000)))
            # In pieces, so that a Ctrl-C is seen.
            if calls.wait(self._process, left):
                self._finish(timed_out=timed_out)
            elif self._deadline is not None and time.monotonic() >= self._deadline:
                timed_out, self._deadline = True, None
                self.kill()
            elif until is not None and time.monotonic() >= until:
                raise TimeoutError("the sandbox is still running")
        return self._ended

    def send_signal(self, number: int) -> None:
        """Windows knows no signals but the end: every number ends the command."""
        self.kill()

    def kill(self) -> None:
        """End everything inside at once."""
        from sandbox.windows import calls

        if self._ended is None:
            calls.terminate_job(self._handle, KILLED)

    def __exit__(self, *_: object) -> None:
        if self._ended is None:
            self.kill()
            self.wait()

    def _finish(self, *, timed_out: bool) -> None:
        from sandbox.windows import calls

        code = calls.exit_code(self._process)
        calls.close(self._process)
        calls.close(self._handle)  # The last handle: whatever is left inside ends now.
        shutil.rmtree(self._private, ignore_errors=True)
        limit = "wall_clock_seconds" if timed_out else None
        self._ended = ExitStatus(code=code, timed_out=timed_out, limit=limit)

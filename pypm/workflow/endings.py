"""How a command ended, where its exit code alone would leave the user guessing.

A command that fails by itself has said why. One that was not started, was stopped at its time limit or was
killed has said nothing, so that is told here.

Source: execve(2), signal(7).
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Sequence
from typing import Protocol

from pypm.errors import PypmError
from sandbox import NetworkReport, Reached

_WHY_NOT = {
    errno.EACCES: ("is not executable", "run it through its interpreter, or give it the x bit"),
    errno.ENOEXEC: (
        "is no program: it neither is a binary nor begins with `#!`",
        "run it through its interpreter, such as `pypm run sh FILE`",
    ),
    errno.ENOENT: (
        "does not exist in the sandbox, or the interpreter that its first line names does not",
        "`pypm sandbox explain` lists what the sandbox shows; `--allow-read PATH` shows more",
    ),
    errno.E2BIG: ("has more arguments than the system takes", None),
}
_LIMIT_HINTS = {
    "memory_bytes": "`--memory` sets the limit",
    "cpu_seconds": "`cpu-time` in [tool.pypm.sandbox.run] sets the limit",
    "file_size_bytes": "`file-size` in [tool.pypm.sandbox.run] sets the limit",
    "temporary_size_bytes": "`tmp-size` in [tool.pypm.sandbox.run] sets the limit",
    "output_bytes": "`output` in [tool.pypm.sandbox.run] sets the limit",
}
_ASKED_FOR = frozenset(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE", "SIGQUIT")
    if hasattr(signal, name)
)
"""Somebody ended the command and knows it. Windows has only the first two."""


class Ended(Protocol):
    """What the sandbox tells of the end. Fits `sandbox.ExitStatus`."""

    @property
    def signal(self) -> int | None:
        """The signal that ended the command."""
        ...

    @property
    def timed_out(self) -> bool:
        """Whether the wall clock limit ended it."""
        ...

    @property
    def unstarted(self) -> int | None:
        """The errno of execve(2)."""
        ...

    @property
    def lost(self) -> str:
        """A protected path that was replaced from outside, so that the run was ended."""
        ...

    @property
    def limit(self) -> str | None:
        """The limit that ended it, where that is known."""
        ...

    @property
    def reached(self) -> Sequence[Reached]:
        """The limits that were met."""
        ...

    @property
    def network(self) -> NetworkReport | None:
        """What was refused, where hosts were listed."""
        ...

    @property
    def returncode(self) -> int:
        """As a shell has it."""
        ...


class CommandEndedError(PypmError):
    """The command did not come to its own end; the exit code is the one that a shell would give."""

    def __init__(self, message: str, *, reference: str, hint: str | None, exit_code: int) -> None:
        super().__init__(message, reference=reference, hint=hint)
        self.exit_code = exit_code


def untold_end(ended: Ended, word: str) -> CommandEndedError | None:
    """Return what is to be said about the end of the command that `word` began, or None for its own exit."""
    told: tuple[str, str, str | None] | None = None
    if ended.unstarted is not None:
        why, hint = _WHY_NOT.get(ended.unstarted, (f"was not started: {os.strerror(ended.unstarted)}", None))
        told = ("not-started", f"`{word}` {why}", hint)
    elif ended.lost:
        message = (
            f"`{ended.lost}` was replaced from outside while the run could write there, so the run was ended"
        )
        told = ("replaced-meanwhile", message, "look at what lies there now, then start the run again")
    elif ended.timed_out:
        told = ("timed-out", f"`{word}` was ended at its time limit", "`--timeout` sets the limit")
    elif ended.signal is not None and ended.limit is not None:
        met = next(each.sentence for each in ended.reached if each.limit == ended.limit)
        told = ("limit-reached", f"`{word}` was ended: {met}", _LIMIT_HINTS.get(ended.limit))
    elif ended.signal is not None and ended.signal not in _ASKED_FOR:
        told = ("killed", f"`{word}` was ended by {_signal_name(ended.signal)}", _hint_for(ended.signal))
    if told is None:
        return None
    reference, message, hint = told
    return CommandEndedError(message, reference=reference, hint=hint, exit_code=ended.returncode)


def remarks(ended: Ended) -> tuple[str, ...]:
    """Return what a run met that its end does not tell: refusals on the network, and limits.

    Of a limit that ended a program which the command had started, only this is known of.
    """
    told_at_the_end = ended.limit if ended.signal is not None else None
    limits = (f"limit: {each.sentence}" for each in ended.reached if each.limit != told_at_the_end)
    return (*(() if ended.network is None else ended.network.lines()), *limits)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _hint_for(number: int) -> str | None:
    if number == signal.SIGSYS:
        return "it made a system call that the sandbox forbids; `pypm sandbox explain` tells the policy"
    if number == signal.SIGKILL:
        return "memory may have run out; `--memory` and the machine limit it"
    return None

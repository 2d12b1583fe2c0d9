"""The shell's way of saying in one number how a command ended; the only place that knows it.

Apart from `command.py` because the fast path returns such a number and cannot afford dataclasses.
"""

from __future__ import annotations

import errno

TIMED_OUT = 124
"""What timeout(1) exits with when the time is up."""
SETUP_FAILED = 125
"""What a program exits with that could not make the sandbox; here it is raised as `SetupError`."""
NOT_EXECUTABLE = 126
NOT_FOUND = 127
SIGNAL_BASE = 128


def shell_code(*, code: int | None, signal: int | None, timed_out: bool) -> int:
    """The command's own code, 128 + n for a signal, 124 for a command whose time was up."""
    if timed_out:
        return TIMED_OUT
    if signal is not None:
        return SIGNAL_BASE + signal
    return SETUP_FAILED if code is None else code


def unstarted_code(number: int) -> int:
    """127 for a program that is not there, 126 for one that cannot be executed."""
    return NOT_FOUND if number == errno.ENOENT else NOT_EXECUTABLE

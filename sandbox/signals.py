"""Which signals travel into the sandbox, and how they are waited for without a handler.

Every process of ours blocks these and takes them one by one from `sigtimedwait`, so no code is ever
interrupted and nothing can be lost between two looks. `_signal` is the C half of `signal`; the Python
half only adds enumerations, which cost more than a whole sandbox.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

SIGKILL = int(_signal.SIGKILL)
SIGSTOP = int(_signal.SIGSTOP)
SIGINT = int(_signal.SIGINT)
SIGTERM = int(_signal.SIGTERM)
SIGCHLD = int(_signal.SIGCHLD)
SIGIO = int(_signal.SIGIO)
SIGCONT = int(_signal.SIGCONT)
SIGTSTP = int(_signal.SIGTSTP)
SIGHUP = int(_signal.SIGHUP)
SIGWINCH = int(_signal.SIGWINCH)
SIGTTOU = int(_signal.SIGTTOU)
SIGXCPU = int(_signal.SIGXCPU)
SIGXFSZ = int(_signal.SIGXFSZ)

TO_GROUP = (SIGINT, int(_signal.SIGQUIT), SIGHUP, SIGWINCH)
"""A terminal sends these to the whole foreground group; so does init."""
TO_COMMAND = (SIGTERM, int(_signal.SIGUSR1), int(_signal.SIGUSR2))
"""Sent to the command alone."""
TO_EVERYONE = (SIGTSTP, SIGCONT)
"""Suspend and resume: every process inside stops, whatever group it is in."""
FORWARDED = (*TO_GROUP, *TO_COMMAND, *TO_EVERYONE)
WAITED_FOR = (*FORWARDED, SIGCHLD, SIGIO, SIGTTOU)


def block() -> set[int]:
    """Block what is waited for; return the mask that was in force."""
    return {int(number) for number in _signal.pthread_sigmask(_signal.SIG_BLOCK, WAITED_FOR)}


def restore(mask: set[int]) -> None:
    """Put the mask back that `block` returned; word of input that nobody waits for is forgotten."""
    _signal.sigtimedwait((SIGIO,), 0)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)


def reset(ignored: int = -1) -> None:
    """Give a new program the dispositions and the mask that programs expect: default, and nothing blocked.

    Python ignores SIGPIPE and SIGXFSZ, and an ignored signal stays ignored across an exec; one that has a
    handler does not. `ignored` is a mask of the ignored ones where that is known (bit 0 is signal 1).
    """
    for number in range(1, _signal.NSIG):
        # The kernel keeps SIGKILL and SIGSTOP to itself, the C library two of its own.
        if ignored >> (number - 1) & 1 and number not in (SIGKILL, SIGSTOP, 32, 33):
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def wait(timeout_seconds: float | None = None) -> int:
    """The next signal, or 0 when the time is up."""
    if timeout_seconds is None:
        return int(_signal.sigwaitinfo(WAITED_FOR).si_signo)
    found = _signal.sigtimedwait(WAITED_FOR, max(timeout_seconds, 0.0))
    return 0 if found is None else int(found.si_signo)


def die_with_signal(number: int) -> None:
    """Reset `number` and send it to ourselves, so that our own parent sees the true cause."""
    import os

    _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (number,))
    os.kill(os.getpid(), number)

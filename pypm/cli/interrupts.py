"""Ctrl-C ends the command: never lost, and never raised where that would break Python itself.

Python runs a signal's handler between any two steps of the main thread. Where that is matters twice:

- In the import system, between taking the global import lock and the `try` that gives it back. An exception
  there leaves the lock taken, and every other thread's next import waits for ever. So the interrupt waits
  until the import system's own code is left, some microseconds later.
- In a finalizer, in a weak reference's callback, or below C code that drops errors: there the exception ends
  nowhere. So it is looked for a moment later, and raised again where nothing is ending because of it.

A thread may find a module that the main thread was importing taken away half way. What threads complain of
after an interrupt is not told: the command has ended, and nobody looks at what they work on.

Source: `_get_module_lock` in CPython's `importlib/_bootstrap.py`; `PyErr_WriteUnraisable`.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from types import FrameType

EXIT_INTERRUPTED = 130
"""128 and the number of SIGINT, as a shell has it."""
_IMPORT_SYSTEM = "<frozen importlib."
_SOON_SECONDS = 0.005
_LOOK_SECONDS = 0.25
_PATIENCE_SECONDS = 5.0
"""Then it is raised in any case: what cleans up may be waiting for a thread that itself waits."""


class Interrupts:
    """What became of Ctrl-C in this process. Mutable: it remembers when the first one came."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._came = False

    def install(self) -> None:
        """Take SIGINT over, unless the caller ignores it or handles it otherwise."""
        sys.unraisablehook = self._unraisable
        threading.excepthook = self._thread_failed
        if sys.platform != "win32" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._arrived)
            signal.signal(signal.SIGALRM, self._look)

    def uninstall(self) -> None:
        """Give SIGINT back to Python: another one takes over."""
        self.over()
        sys.unraisablehook, threading.excepthook = sys.__unraisablehook__, threading.__excepthook__
        if sys.platform != "win32" and signal.getsignal(signal.SIGINT) == self._arrived:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def over(self) -> None:
        """The interrupt has come to where it is told; nothing is raised any more because of it."""
        self._since = None
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        self._begin()
        self._raise(frame)

    def _begin(self) -> None:
        self._came = True
        self._since = time.monotonic() if self._since is None else self._since

    def _look(self, number: int, frame: FrameType | None) -> None:
        """Raise again what was put off or lost; leave alone what is on its way."""
        if self._since is None:
            return
        if _is_under_way() and time.monotonic() - self._since < _PATIENCE_SECONDS:
            signal.setitimer(signal.ITIMER_REAL, _LOOK_SECONDS)
            return
        self._raise(frame)

    def _raise(self, frame: FrameType | None) -> None:
        waited_seconds = time.monotonic() - (self._since or 0.0)
        if _is_in_import_system(frame) and waited_seconds < _PATIENCE_SECONDS:
            signal.setitimer(signal.ITIMER_REAL, _SOON_SECONDS)
            return
        signal.setitimer(signal.ITIMER_REAL, _LOOK_SECONDS)
        raise KeyboardInterrupt

    def _unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Say nothing of an interrupt that Python dropped: it is raised again."""
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
        elif sys.platform == "win32":
            _thread.interrupt_main()
        else:
            # A real signal a moment later: one that is only marked does not end a wait that begins right now.
            self._begin()
            signal.setitimer(signal.ITIMER_REAL, _SOON_SECONDS)

    def _thread_failed(self, failed: threading.ExceptHookArgs) -> None:
        if not self._came:
            threading.__excepthook__(failed)


def _is_in_import_system(frame: FrameType | None) -> bool:
    """Whether the step that was interrupted is one of the import system itself, not of a module it loads."""
    return frame is not None and frame.f_code.co_filename.startswith(_IMPORT_SYSTEM)


def _is_under_way() -> bool:
    """Whether the main thread is ending blocks because of an interrupt: the handler that asks runs in one."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False

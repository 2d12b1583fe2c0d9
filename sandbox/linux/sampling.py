"""The memory of a sandbox's processes, looked at now and then: for hosts where no control group counts it."""

from __future__ import annotations

import contextlib
import threading

_PERIOD_SECONDS = 0.05


class Sampler:
    """A thread that adds up the resident sets of all processes under pid 1 and remembers the highest sum.

    A peak that is shorter than the period may be missed, and pages that processes share count for each.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, init: int) -> None:
        """Start to look, if psutil is installed and a thread can be started."""
        thread = threading.Thread(target=self._look, args=(init,), name="sampler", daemon=True)
        with contextlib.suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def close(self) -> int:
        """The highest sum that was seen, 0 if none was."""
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        return self.peak_bytes

    def _look(self, init: int) -> None:
        try:
            import psutil
        except ImportError:
            return
        try:
            first = psutil.Process(init)
        except psutil.Error:
            return
        while not self._done.wait(_PERIOD_SECONDS):
            total = 0
            with contextlib.suppress(psutil.Error):
                for process in first.children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        total += process.memory_info().rss
            self.peak_bytes = max(self.peak_bytes, total)

"""Downloads as a reporter sees them, and the one way to stop them from outside."""

from __future__ import annotations

import threading

from pypm.workflow.report import Reporter, Task


class Stopped(Exception):  # noqa: N818 - another download failed, or the user pressed Ctrl-C
    """Ends a transfer where it is; its `.part` file serves the next run."""


class ReportedProgress:
    """Implements `index.download.Progress`: one task a file, and a way out for all of them at once."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._tasks: dict[str, Task] = {}
        self._lock = threading.Lock()
        self.stop = threading.Event()
        self.received_bytes = 0

    def started(self, filename: str, total_bytes: int | None, offset_bytes: int) -> None:
        """A transfer begins, or begins again, with `offset_bytes` there already."""
        self._check()
        with self._lock:
            task = self._tasks.get(filename)
            if task is None:
                task = self._tasks[filename] = self._reporter.task("Downloading", filename, total=total_bytes)
        task.expect(total_bytes, done=offset_bytes)

    def advanced(self, filename: str, count_bytes: int) -> None:
        """More bytes arrived."""
        self._check()
        with self._lock:
            self.received_bytes += count_bytes
            task = self._tasks[filename]
        task.advance(count_bytes)

    def finished(self, filename: str) -> None:
        """The file is complete."""
        with self._lock:
            task = self._tasks.pop(filename, None)
        if task is not None:
            task.__exit__(None, None, None)

    def waits(self, filename: str, holder: str) -> None:
        """Another process fetches the file."""
        self._reporter.step("Waiting", f"for {filename}, which {holder} fetches")

    def close(self) -> None:
        """End the tasks of transfers that were stopped."""
        with self._lock:
            tasks = list(self._tasks.values())
            self._tasks.clear()
        for task in tasks:
            task.__exit__(None, None, None)

    def _check(self) -> None:
        if self.stop.is_set():
            raise Stopped

"""Live progress on a terminal, drawn with rich: one line a task, downloads with rate and total."""

from __future__ import annotations

import threading
from types import TracebackType

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.progress import Task as RichTask
from rich.text import Text

_REFRESH_HZ = 10
"""Redraws a second: smooth to the eye, unnoticeable to the processor."""

_MAX_SAID_CHARACTERS = 60
"""A build's last line is cut here, so that it never wraps."""


class _BytesOnly(ProgressColumn):
    """Shows a column for tasks that are counted in bytes, nothing for the others."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: RichTask) -> Text:
        if task.fields.get("unit") != "bytes":
            return Text("")
        rendered = self._column(task)
        return rendered if isinstance(rendered, Text) else Text(str(rendered))


class LiveDisplay:
    """The lines below the talk that change while work goes on."""

    def __init__(self, *, colored: bool) -> None:
        self._console = RichConsole(stderr=True, no_color=not colored, highlight=False, markup=False)
        self._lock = threading.Lock()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            _BytesOnly(DownloadColumn()),
            _BytesOnly(TransferSpeedColumn()),
            TimeElapsedColumn(),
            TextColumn("{task.fields[said]}", markup=False, style="dim"),
            console=self._console,
            transient=True,
            # Standard output is the command's answer and may be a file: rich must not take it over.
            redirect_stdout=False,
            redirect_stderr=False,
            refresh_per_second=_REFRESH_HZ,
        )
        self._progress.start()

    def task(self, verb: str, subject: str, *, unit: str, total: int | None) -> LiveTask:
        """Add a line."""
        task_id = self._progress.add_task(f"{verb} {subject}", total=total, unit=unit, said="")
        return LiveTask(self._progress, task_id)

    def print(self, line: str) -> None:
        """Print a line of talk above the live ones; it may hold colours already."""
        self._console.print(Text.from_ansi(line))

    def close(self) -> None:
        """Remove the lines and give the cursor back."""
        self._progress.stop()


class LiveTask:
    """One live line."""

    def __init__(self, progress: Progress, task_id: TaskID) -> None:
        self._progress = progress
        self._task_id = task_id

    def __enter__(self) -> LiveTask:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.remove_task(self._task_id)

    def advance(self, amount: int) -> None:
        """`amount` more is done."""
        self._progress.advance(self._task_id, amount)

    def expect(self, total: int | None, *, done: int = 0) -> None:
        """The total became known, and what was there already."""
        if done:
            self._progress.update(
                self._task_id, total=total, completed=done, said=f"resumed at {done:,} bytes"
            )
        else:
            self._progress.update(self._task_id, total=total)

    def say(self, text: str) -> None:
        """Show the latest line at the end."""
        self._progress.update(self._task_id, said=text[:_MAX_SAID_CHARACTERS])

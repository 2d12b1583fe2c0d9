"""Live progress on a terminal, drawn with rich: one line a task, downloads with rate and total."""

from __future__ import annotations

import threading
from types import TracebackType

from rich.console import Console as RichConsole
from rich.progress import Progress, ProgressColumn, SpinnerColumn, TaskID
from rich.progress import Task as RichTask
from rich.table import Column
from rich.text import Text

from pypm.cli.sizes import human_size
from pypm.display import harmless

_REFRESH_HZ = 10
"""Redraws a second: smooth to the eye, unnoticeable to the processor."""

_MARGIN = 6
"""The spinner, and room for the `^C` that a terminal shows: a line that wraps could not be removed again."""
_SHORTEST_NAME = 18
"""Characters that a name keeps when facts compete for the line."""
_BAR_WIDTH = 20

_MAX_SAID_CHARACTERS = 60
"""A build's last line is cut here, so that it never wraps."""


class _TaskLine(ProgressColumn):
    """One line a task, cut to the terminal: what it is, then as many facts as there is room for."""

    def __init__(self, console: RichConsole) -> None:
        super().__init__(Column(no_wrap=True))
        self._console = console

    def render(self, task: RichTask) -> Text:
        """Give the facts their room first; a long name is shortened, never the numbers."""
        room = self._console.width - _MARGIN
        facts = ""
        for fact in _facts(task):
            if fact and len(facts) + 1 + len(fact) <= room - min(len(task.description), _SHORTEST_NAME):
                facts += f" {fact}"
        name = Text(task.description)
        name.truncate(max(1, room - len(facts)), overflow="ellipsis")
        return name.append(facts, style="dim")


def _facts(task: RichTask) -> tuple[str, ...]:
    """What there is to say about a task, the most important first."""
    if task.fields["unit"] != "bytes":
        return (_clock(task.elapsed), task.fields["said"])
    total = human_size(task.total) if task.total is not None else "?"
    rate = f"{human_size(task.speed)}/s" if task.speed else ""
    share = task.percentage / 100 if task.total else 0.0
    bar = "━" * round(share * _BAR_WIDTH) + "┈" * (_BAR_WIDTH - round(share * _BAR_WIDTH))
    return (f"{human_size(task.completed)}/{total}", rate, _clock(task.elapsed), task.fields["said"], bar)


def _clock(seconds: float | None) -> str:
    whole = int(seconds or 0)
    return f"{whole // 60}:{whole % 60:02}"


class LiveDisplay:
    """The lines below the talk that change while work goes on."""

    def __init__(self, *, colored: bool) -> None:
        self._console = RichConsole(stderr=True, no_color=not colored, highlight=False, markup=False)
        self._lock = threading.Lock()
        self._progress = Progress(
            SpinnerColumn(),
            _TaskLine(self._console),
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
            # Not an update: what was there before is no part of the rate.
            self._progress.reset(
                self._task_id,
                total=total,
                completed=done,
                unit="bytes",
                said=f"resumed at {human_size(done)}",
            )
        else:
            self._progress.update(self._task_id, total=total)

    def say(self, text: str) -> None:
        """Show the latest line at the end."""
        self._progress.update(self._task_id, said=harmless(text[:_MAX_SAID_CHARACTERS]))

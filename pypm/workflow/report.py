"""What a workflow tells while it works. The workflows own this protocol; `cli/output.py` renders it."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol


class Task(Protocol):
    """One piece of work that takes a while: a download, a build, the resolution."""

    def __enter__(self) -> Task: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def advance(self, amount: int) -> None:
        """`amount` more bytes (or items) are done."""

    def expect(self, total: int | None, *, done: int = 0) -> None:
        """The total became known; `done` of it was there already (a resumed download)."""

    def say(self, text: str) -> None:
        """The last line of a build, the package being resolved."""


class Reporter(Protocol):
    """Where a workflow's talk goes. Every method may be called from any thread."""

    def step(self, verb: str, text: str) -> None:
        """Something is finished: `Resolved`, `57 packages in 2.1 s`."""

    def change(self, sign: str, text: str) -> None:
        """One package was added `+`, removed `-` or moved `~`."""

    def detail(self, text: str) -> None:
        """For `-v` only."""

    def warn(self, text: str, *, hint: str | None = None) -> None:
        """Something the user should know, although the command goes on."""

    def remark(self, text: str) -> None:
        """One line of its own on what a command did or met."""

    def task(self, verb: str, subject: str, *, unit: str = "bytes", total: int | None = None) -> Task:
        """Begin a piece of work; use it as a context manager."""

    def release_terminal(self) -> None:
        """Take away whatever is drawn: what comes next owns the terminal."""


class SilentTask:
    """A task that nobody watches."""

    def __enter__(self) -> SilentTask:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def advance(self, amount: int) -> None:
        """Nothing to show."""

    def expect(self, total: int | None, *, done: int = 0) -> None:
        """Nothing to show."""

    def say(self, text: str) -> None:
        """Nothing to show."""


class SilentReporter:
    """A reporter for callers that want the result alone."""

    def step(self, verb: str, text: str) -> None:
        """Nothing to show."""

    def change(self, sign: str, text: str) -> None:
        """Nothing to show."""

    def detail(self, text: str) -> None:
        """Nothing to show."""

    def warn(self, text: str, *, hint: str | None = None) -> None:
        """Nothing to show."""

    def remark(self, text: str) -> None:
        """Nothing to show."""

    def task(self, verb: str, subject: str, *, unit: str = "bytes", total: int | None = None) -> Task:
        return SilentTask()

    def release_terminal(self) -> None:
        """Nothing is drawn."""

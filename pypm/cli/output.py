"""The only renderer: data goes to stdout, talk to stderr, and an error is told the same way everywhere.

rich is imported only when there is a terminal that shows progress; every other line is plain text with, at
most, a colour around one word.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from pypm.cli.sizes import human_size
from pypm.display import harmless, harmless_lines
from pypm.errors import InternalError, PypmError, StorageError
from pypm.files import storage_errors
from pypm.workflow.report import SilentTask, Task

if TYPE_CHECKING:
    from pypm.cli.progress import LiveDisplay

_COLOURS = {"green": "32", "yellow": "33", "red": "31", "cyan": "36", "dim": "2", "bold": "1"}
_TOLD_BYTES = 1 << 20
"""Smaller downloads are over before anybody reads their line."""

_ONLY_LIVE = frozenset({"Resolving", "Unpacking"})
"""Work of which a log is told at its end, in one line for all of it."""

_SIGNS = {"+": "green", "-": "red", "~": "cyan"}


@dataclass(slots=True, kw_only=True)
class Console:
    """Implements `workflow.report.Reporter` for a person or a log."""

    verbosity: int = 0
    """-1 and below: errors only; 0: the usual; 1: details; 2: tracebacks as well."""
    color: str = "auto"
    """`auto`, `always` or `never`."""
    progress: bool = True
    """Whether live progress may be drawn when standard error is a terminal."""
    _display: LiveDisplay | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    # Data ------------------------------------------------------------------------------------------------

    def data(self, text: str) -> None:
        """Write a line of the command's answer to stdout, whatever the verbosity.

        A file or another program gets it as it is; a terminal is shown nothing that it would obey.
        """
        self.close()
        with storage_errors("write the answer"), _to_nobody(sys.stdout, BrokenPipeError):
            sys.stdout.write((harmless(text, keep="\n\t") if sys.stdout.isatty() else text) + "\n")

    def data_json(self, value: Any) -> None:
        """Write the command's answer as JSON to stdout."""
        import json

        self.data(json.dumps(value, indent=2, sort_keys=True))

    def finish(self) -> None:
        """Hand over the whole answer; whoever stopped reading it, such as `head`, wants no more.

        Raises: StorageError: it could not be written, such as to a full disk.
        """
        with storage_errors("write the answer"), _to_nobody(sys.stdout, BrokenPipeError):
            sys.stdout.flush()

    # Talk ------------------------------------------------------------------------------------------------

    def step(self, verb: str, text: str) -> None:
        """Tell what is finished."""
        if self.verbosity >= 0:
            self._talk(f"{self.paint(verb, 'green')} {harmless_lines(text)}")

    def change(self, sign: str, text: str) -> None:
        """Tell one package that was added, removed or moved."""
        if self.verbosity >= 0:
            self._talk(f" {self.paint(sign, _SIGNS.get(sign, 'bold'))} {harmless_lines(text)}")

    def detail(self, text: str) -> None:
        """Tell what only `-v` wants to know."""
        if self.verbosity >= 1:
            self._talk(self.paint(harmless_lines(text), "dim"))

    def warn(self, text: str, *, hint: str | None = None) -> None:
        """Tell what the user should know, although the command goes on."""
        if self.verbosity >= 0:
            self._talk(f"{self.paint('warning:', 'yellow')} {harmless_lines(text)}")
            self._hint(hint)

    def ask_about(self, what: str, lines: tuple[str, ...]) -> None:
        """Tell what a question is about, whatever the verbosity: the answer must not be given unseen."""
        self._talk(harmless_lines(what))
        self._details(lines)

    def remark(self, text: str) -> None:
        """Tell what a command did or met, after its end."""
        if self.verbosity >= 0:
            self._talk(harmless_lines(text))

    def task(self, verb: str, subject: str, *, unit: str = "bytes", total: int | None = None) -> Task:
        """Begin a piece of work: a live line on a terminal, a plain line of its begin elsewhere."""
        if self.verbosity < 0:
            return SilentTask()
        subject = harmless(subject)
        if self._draws():
            return self._live().task(verb, subject, unit=unit, total=total)
        if unit != "bytes":
            if verb not in _ONLY_LIVE:
                self._talk(f"{verb} {subject}")
            return SilentTask()
        return PlainDownload(self, verb, subject)

    def release_terminal(self) -> None:
        """Take the live display away: what comes next owns the terminal."""
        self.close()

    def close(self) -> None:
        """Remove the live display; the next line of talk stands on its own."""
        with self._lock:
            display, self._display = self._display, None
        if display is not None:
            display.close()

    # Errors ----------------------------------------------------------------------------------------------

    def fail(self, error: BaseException) -> int:
        """Render `error` and return the exit code that belongs to it."""
        self.close()
        known = as_pypm_error(error)
        self._error_line(known.message)
        self._details(known.details)
        for cause in _causes(known):
            self._talk(
                f"  {self.paint('caused by:', 'red')} {harmless_lines(_sentence(cause), indent='    ')}"
            )
        self._hint(known.hint)
        if self.verbosity >= 2:
            import traceback

            self._talk(harmless_lines("".join(traceback.format_exception(error)).rstrip()))
        return known.exit_code

    def fail_usage(self, message: str, *, hint: str | None = None) -> None:
        """Render a mistake in the command line."""
        self._error_line(message)
        self._hint(hint)

    def interrupted(self) -> None:
        """The one line after Ctrl-C."""
        self.close()
        # A terminal has just shown `^C` and stands behind it.
        self._talk("\nInterrupted" if sys.stderr.isatty() else "Interrupted")

    # How -------------------------------------------------------------------------------------------------

    def paint(self, text: str, style: str, *, stream: TextIO | None = None) -> str:
        """Wrap `text` in a colour if the stream shows colours."""
        return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if self.colored(stream or sys.stderr) else text

    def colored(self, stream: TextIO) -> bool:
        """Whether `stream` shows colours. Source: no-color.org, and `--color`."""
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            return False
        return stream.isatty()

    def _draws(self) -> bool:
        return (
            self.progress
            and self.color != "never"
            and sys.stderr.isatty()
            and os.environ.get("TERM") != "dumb"
        )

    def _live(self) -> LiveDisplay:
        with self._lock:
            if self._display is None:
                from pypm.cli.progress import LiveDisplay

                self._display = LiveDisplay(colored=self.colored(sys.stderr))
            return self._display

    def _error_line(self, message: str) -> None:
        self._talk(f"{self.paint('error:', 'red')} {harmless_lines(message)}")

    def _details(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._talk(f"  {harmless_lines(line, indent='    ')}")

    def _hint(self, hint: str | None) -> None:
        if hint:
            self._talk(f"{self.paint('hint:', 'cyan')} {harmless_lines(hint)}")

    def _talk(self, line: str) -> None:
        """Show a line of our own making: what was foreign in it has been made harmless before."""
        with self._lock:
            if self._display is not None:
                self._display.print(line)
                return
            # A log has both streams: what was answered before this line must stand before it.
            with suppress(OSError, ValueError):  # Nobody reads the answer any more, or it is closed.
                sys.stdout.flush()
            # Whether somebody listens changes nothing about the work, nor about how it ends.
            with _to_nobody(sys.stderr, OSError):
                sys.stderr.write(line + "\n")
                sys.stderr.flush()


class PlainDownload(SilentTask):
    """A download where there is no terminal: one line when it is worth one."""

    def __init__(self, console: Console, verb: str, subject: str) -> None:
        self._console = console
        self._verb = verb
        self._subject = subject
        self._told = False

    def expect(self, total: int | None, *, done: int = 0) -> None:
        """The size became known."""
        if not self._told and total is not None and total >= _TOLD_BYTES:
            self._told = True
            resumed = f", resumed at {human_size(done)}" if done else ""
            self._console.step(self._verb, f"{self._subject} ({human_size(total)}{resumed})")


def as_pypm_error(error: BaseException) -> PypmError:
    """Fit any exception into the one error tree: what no room translated is a bug, or the system."""
    if isinstance(error, PypmError):
        return error
    if isinstance(error, OSError) and error.strerror:
        named = isinstance(error.filename, (str, bytes))
        try:
            with storage_errors(f"use `{os.fsdecode(error.filename)}`" if named else "do this"):
                raise error
        except StorageError as told:
            told.__cause__ = error.__cause__
            return told
    return InternalError(
        f"pypm met a state that it believed to be impossible: {type(error).__name__}: {error}",
        reference="bug",
        hint="this is a bug of pypm; run the command again with `-vv` and report what it prints",
    )


@contextmanager
def _to_nobody(stream: TextIO, failure: type[OSError]) -> Iterator[None]:
    """Lead a stream nowhere from the first such failure on, and with it what is in its buffer."""
    try:
        yield
    except failure:
        with suppress(OSError):  # One that stands in memory has no descriptor.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen = {_sentence(error)}
    cause = error.__cause__
    while cause is not None:
        sentence = _sentence(cause)
        if sentence and not any(_words(sentence) <= _words(earlier) for earlier in seen):
            yield cause
        seen.add(sentence)
        cause = cause.__cause__


def _words(sentence: str) -> set[str]:
    """A cause that has no word which was not told already says nothing new."""
    return set(sentence.casefold().replace("`", "").replace(":", " ").split())


def _sentence(error: BaseException) -> str:
    if isinstance(error, PypmError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        where = f": `{os.fsdecode(error.filename)}`" if isinstance(error.filename, (str, bytes)) else ""
        return error.strerror + where
    return str(error) or type(error).__name__


@contextmanager
def closing(console: Console) -> Iterator[Console]:
    """Remove the live display on every way out."""
    try:
        yield console
    finally:
        console.close()

"""The output of a build: followed line by line, kept within bounds, made safe to show."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import sandbox

KEPT_LINES = 400
SHOWN_LINES = 40
LINE_BYTES = 4096
"""A longer line is cut: a build that prints without line ends must not fill the memory."""

_READ_BYTES = 1 << 16
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
"""Terminal sequences (ECMA-48: control sequences, operating system commands, two-byte escapes)."""


def printable(line: str) -> str:
    """Take out what a terminal would obey: a build must not move the cursor or set the title."""
    without = _ESCAPE.sub("", line.replace("\t", "    "))
    return "".join(character for character in without if character.isprintable())


@dataclass(slots=True, kw_only=True)
class BuildLog:
    """The last lines of a build, each passed on as it comes."""

    on_line: Callable[[str], None]
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))

    def follow(self, descriptor: int) -> None:
        """Read until the last writer has closed its end."""
        pending = b""
        while chunk := os.read(descriptor, _READ_BYTES):
            *complete, pending = (pending + chunk).replace(b"\r", b"\n").split(b"\n")
            for line in complete:
                self._take(line)
            if len(pending) > LINE_BYTES:
                self._take(pending)
                pending = b""
        if pending:
            self._take(pending)

    def _take(self, line: bytes) -> None:
        self.add(printable(line[:LINE_BYTES].decode("utf-8", "replace")).rstrip())

    def add(self, text: str) -> None:
        """Add a line, safe to show, that the build did not print itself."""
        if text:
            self.lines.append(text)
            self.on_line(text)

    @property
    def end(self) -> tuple[str, ...]:
        """What an error shows."""
        shown = tuple(self.lines)[-SHOWN_LINES:]
        hidden = len(self.lines) - len(shown)
        return ((f"... {hidden} lines before",) if hidden else ()) + shown


def run_followed(start: Callable[[int, int], sandbox.Process], log: BuildLog) -> sandbox.ExitStatus:
    """Start a process with nothing to read, follow its output to the end, return how it ended.

    `start` is given the descriptors for its input and its output. When following is interrupted, the process
    is killed: nothing goes on behind the back of somebody who pressed Ctrl-C.
    """
    with Path(os.devnull).open("rb") as nothing:
        reading, writing = os.pipe()
        try:
            process = start(nothing.fileno(), writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
    try:
        with process:
            log.follow(reading)
            return process.wait()
    finally:
        os.close(reading)

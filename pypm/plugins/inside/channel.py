"""The line to pypm: JSON, a line each way, on descriptors that the plugin is not handed.

A plugin prints to 1 and 2 and may close whatever it finds, so the two pipes move to high numbers that are
closed on `exec`; 0 becomes empty and 1 goes where 2 goes. That keeps accidents out. It does not keep malice
out, which shares our memory: pypm checks every line.
"""

from __future__ import annotations

import fcntl
import os
import select
import time
from _thread import get_ident

from .lines import decoded, encoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FIRST_DESCRIPTOR = 200
"""Above everything that a loop over the low descriptors closes, below the limit of open files."""
_PROGRESS_SECONDS = 0.05
"""Between two lines of progress; nobody sees more than twenty a second."""


class Channel:
    """Requests in, events and answers out."""

    def __init__(self) -> None:
        """Move the pipes away from 0 and 1."""
        self._requests = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, _FIRST_DESCRIPTOR)
        self._answers = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, _FIRST_DESCRIPTOR)
        empty = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(empty, 0)
        os.close(empty)
        os.dup2(2, 1)
        self._unread = b""

    def receive(self) -> dict[str, Any] | None:
        """Return the next request, or None when pypm has closed the line."""
        while b"\n" not in self._unread:
            block = os.read(self._requests, 1 << 16)
            if not block:
                return None
            self._unread += block
        line, self._unread = self._unread.split(b"\n", 1)
        return decoded(line)

    def is_waiting(self) -> bool:
        """Whether pypm has said something more. During a hook that can only be: stop."""
        return bool(self._unread) or bool(select.select([self._requests], [], [], 0)[0])

    def send(self, message: dict[str, Any]) -> None:
        """Send one line, however many writes that takes."""
        line = memoryview(encoded(message).encode("ascii") + b"\n")
        while line:
            line = line[os.write(self._answers, line) :]


class Calls:
    """What a plugin may call while its hook runs, for both kinds of plugins."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._thread: int | None = None
        self._last_progress = 0.0

    def begin(self) -> None:
        """Open the callbacks for the thread that is about to call the hook."""
        self._thread = get_ident()

    def end(self) -> None:
        """Close them."""
        self._thread = None

    def allowed(self) -> bool:
        """Whether a hook is running and this is its thread."""
        return self._thread == get_ident()

    def log(self, level: int, message: str) -> None:
        """Tell something."""
        self._channel.send({"log": [level, message]})

    def progress(self, done: int, total: int, what: str) -> None:
        """Tell how far it is, unless that was told a moment ago."""
        now = time.monotonic()
        if now - self._last_progress >= _PROGRESS_SECONDS:
            self._last_progress = now
            self._channel.send({"progress": [done, total, what]})

    def diagnostic(self, level: int, package: int | None, message: str, hint: str | None) -> None:
        """Add a finding about a package, named by its place in the context."""
        self._channel.send({"diagnostic": [level, package, message, hint]})

    def offer(self, package: int, path: str) -> None:
        """Offer a file for the artifact of a package."""
        self._channel.send({"offer": [package, path]})

    def cancelled(self) -> bool:
        """Whether the hook should come to its end."""
        return self._channel.is_waiting()

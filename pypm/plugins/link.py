"""The line to one host: requests out, events and answers in, with every wait and every amount bounded.

What comes back was written by a process that the plugin shares, so nothing of it is believed: not its length,
not its shape, not that it ever ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sandbox
from pypm.errors import PluginError, StorageError
from pypm.isolation import isolation_errors
from pypm.plugins.failures import how_it_ended, output_details, plugin_error, printable

_LONGEST_LINE_BYTES = 1 << 20
_MOST_BYTES = 16 << 20
"""Of one exchange, for answers and for what is printed, each."""
_MOST_EVENTS = 10_000
"""Log lines, diagnostics and offers of one hook call; progress is thinned out inside."""
_GRACE_SECONDS = 1.0
"""For a hook that was asked to stop, and for a host that has closed its line."""
_KEPT_OUTPUT_BYTES = 8192
_ANSWERS = ("loaded", "refused", "result")


class _LateError(Exception):
    """The deadline has passed."""


class Host(Protocol):
    """The sandbox that a host runs in. Fits `sandbox.Process`."""

    def kill(self) -> None:
        """End it at once."""

    def send_signal(self, number: int) -> None:
        """Send a signal to what runs in it."""

    def wait(self, timeout: float | None = None) -> sandbox.ExitStatus:
        """Return how it ended. Raises: TimeoutError, sandbox.SetupError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A host that runs, with its pipes, and what became of them before there was a `Link`."""

    host: Host
    requests: int
    answers: int
    printed: int
    """Where its standard output and error go."""
    unread: bytes = b""
    """Read from `answers`, and looked at by nobody yet."""
    unsent: bytes = b""
    """The rest of a request that did not fit into its pipe."""
    output: bytes = b""
    """Read from `printed`."""
    asked_at: float | None = None
    """When a request was sent whose answer has not come yet, by the monotonic clock."""


def start(plugin: str, policy: sandbox.Policy, argv: Sequence[str]) -> Started:
    """Start a host.

    Raises:
        IsolationError: the sandbox could not be made.
        StorageError: there are no descriptors left for its pipes.
    """
    theirs: list[int] = []
    ours: list[int] = []
    try:
        for inward in (False, True, True):
            read_end, write_end = os.pipe()
            ours.append(read_end if inward else write_end)
            theirs.append(write_end if inward else read_end)
        command = sandbox.Command(argv=tuple(argv), stdin=theirs[0], stdout=theirs[1], stderr=theirs[2])
        with isolation_errors():
            process = sandbox.spawn(policy, command)
    except BaseException as error:
        for descriptor in ours:
            os.close(descriptor)
        if isinstance(error, OSError):
            raise StorageError(
                f"cannot start the host of the plugin `{plugin}`: {error.strerror}",
                reference="no-descriptors",
                hint="raise the limit of open files (`ulimit -n`)",
            ) from error
        raise
    finally:
        for descriptor in theirs:
            os.close(descriptor)
    return Started(host=process, requests=ours[0], answers=ours[1], printed=ours[2])


def line_of(request: dict[str, Any]) -> bytes:
    """Return a request as it is sent."""
    return json.dumps(request, separators=(",", ":")).encode("ascii") + b"\n"


class Link:
    """One running host. Anything but an answer in time ends it."""

    def __init__(self, plugin: str, started: Started) -> None:
        """Take over a host; closing the link ends it."""
        self.plugin = plugin
        self.is_open = True
        self._stage: str | None = None
        self._host = started.host
        self._unread, self._unsent, self._output = started.unread, started.unsent, started.output
        self._asked_at = started.asked_at
        self._received_bytes = self._printed_bytes = 0
        self._requests, self._answers, self._printed = started.requests, started.answers, started.printed
        self._selector = selectors.DefaultSelector()
        for descriptor in (self._requests, self._answers, self._printed):
            os.set_blocking(descriptor, False)
        for descriptor in (self._answers, self._printed):
            self._selector.register(descriptor, selectors.EVENT_READ)
        if self._unsent:
            self._selector.register(self._requests, selectors.EVENT_WRITE)

    def close(self) -> None:
        """End the host; callable twice."""
        if not self.is_open:
            return
        self.is_open = False
        self._selector.close()
        for descriptor in (self._requests, self._answers, self._printed):
            os.close(descriptor)
        self._host.kill()
        with contextlib.suppress(sandbox.SetupError):
            self._host.wait()

    def interrupt(self) -> None:
        """Kill the host, and leave it to the thread that uses this link to find that out."""
        self._host.send_signal(signal.SIGKILL)

    def exchange(
        self,
        request: dict[str, Any],
        *,
        stage: str | None,
        timeout_seconds: float,
        on_event: Callable[[dict[str, Any]], None],
    ) -> dict[str, Any]:
        """Send a request, hand over the events as they come, return the answer.

        A request that whoever started the host has sent already is not sent again; its time runs from
        then. When the time is up, or on Ctrl-C, the hook is asked to stop and has a second to do so.

        Raises:
            PluginError: the host ended, hung, or sent what no host sends.
            IsolationError: the sandbox had not been made after all.
        """
        self._stage = stage
        self._received_bytes = self._printed_bytes = 0
        asked_at, self._asked_at = self._asked_at, None
        if asked_at is None and self._unread:
            raise self.failed("sent what it was not asked for", reference="garbage")
        try:
            if asked_at is None:
                asked_at = time.monotonic()
                self._send(request)
            try:
                return self._answer(asked_at + timeout_seconds, on_event)
            except _LateError:
                self._send({"do": "cancel"})
                return self._answer(time.monotonic() + _GRACE_SECONDS, on_event)
        except _LateError:
            self.close()
            raise self._failed(
                f"took longer than {timeout_seconds:g} seconds",
                reference="timeout",
                hint=None if stage is None else self._more_time,
            ) from None
        except KeyboardInterrupt:
            self.cancel(on_event)
            raise
        except BaseException:
            self.close()
            raise

    def cancel(self, on_event: Callable[[dict[str, Any]], None]) -> None:
        """Ask the hook that was called last to stop, give it a second, and end the host."""
        with contextlib.suppress(PluginError, _LateError):
            self._send({"do": "cancel"})
            self._answer(time.monotonic() + _GRACE_SECONDS, on_event)
        self.close()

    def failed(self, cause: str, *, reference: str, hint: str | None = None) -> PluginError:
        """End the host, and return the error that tells why."""
        self.close()
        return self._failed(cause, reference=reference, hint=hint)

    def _failed(self, cause: str, *, reference: str, hint: str | None = None) -> PluginError:
        told = cause if self._stage is None else f"failed at `{self._stage}`: it {cause}"
        details = output_details(self._output)
        return plugin_error(self.plugin, told, reference=reference, hint=hint, details=details)

    @property
    def _more_time(self) -> str:
        return f'give it more with `timeout = "..."` in `[tool.pypm.plugins.{self.plugin}]`'

    def _send(self, request: dict[str, Any]) -> None:
        self._unsent += line_of(request)
        if self._requests not in self._selector.get_map():
            self._selector.register(self._requests, selectors.EVENT_WRITE)

    def _answer(self, deadline: float, on_event: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        events = 0
        while True:
            message = self._next_message(deadline)
            if any(key in message for key in _ANSWERS):
                return message
            events += message.keys() != {"progress"}
            if events > _MOST_EVENTS:
                raise self._failed(f"logs without end: more than {_MOST_EVENTS} lines", reference="flood")
            on_event(message)

    def _next_message(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._unread:
            if len(self._unread) > _LONGEST_LINE_BYTES:
                raise self._failed("sent what no host sends: a line without end", reference="garbage")
            self._pump(deadline)
        line, self._unread = self._unread.split(b"\n", 1)
        message = None
        with contextlib.suppress(ValueError, RecursionError):
            message = json.loads(line)
        if not isinstance(message, dict):
            shown = printable(line.decode("utf-8", "replace"), most_characters=80)
            raise self._failed(f"sent what no host sends: `{shown}`", reference="garbage")
        return message

    def _pump(self, deadline: float) -> None:
        """Wait until something can be read or written, and do that."""
        ready = self._selector.select(max(0.0, deadline - time.monotonic()))
        if not ready and time.monotonic() >= deadline:
            raise _LateError
        for key, _ in ready:
            if key.fd == self._requests:
                self._write()
            elif key.fd == self._printed:
                self._drain()
            else:
                self._read()
        if time.monotonic() >= deadline and b"\n" not in self._unread:
            raise _LateError

    def _write(self) -> None:
        try:
            self._unsent = self._unsent[os.write(self._requests, self._unsent[: 1 << 16]) :]
        except BrokenPipeError:
            self._unsent = b""  # Its end is seen on the other pipe, together with how it ended.
        if not self._unsent:
            self._selector.unregister(self._requests)

    def _drain(self) -> None:
        """Take what the plugin prints and keep the end of it, for an error may need it."""
        block = os.read(self._printed, 1 << 16)
        if not block:
            self._selector.unregister(self._printed)
        self._output = (self._output + block)[-_KEPT_OUTPUT_BYTES:]
        self._printed_bytes += len(block)
        if self._printed_bytes > _MOST_BYTES:
            raise self._failed(f"prints without end: more than {_MOST_BYTES >> 20} MiB", reference="flood")

    def _read(self) -> None:
        block = os.read(self._answers, 1 << 16)
        if not block:
            raise self._ended()
        self._unread += block
        self._received_bytes += len(block)
        if self._received_bytes > _MOST_BYTES:
            raise self._failed(f"logs without end: more than {_MOST_BYTES >> 20} MiB", reference="flood")

    def _ended(self) -> PluginError:
        """The host closed its line: wait for how it ended, and for the rest of what it printed."""
        status = None
        with isolation_errors():
            try:
                status = self._host.wait(_GRACE_SECONDS)
            except TimeoutError:
                return self._failed("closed its line to pypm", reference="garbage")
        with contextlib.suppress(BlockingIOError):
            while block := os.read(self._printed, 1 << 16):
                self._output = (self._output + block)[-_KEPT_OUTPUT_BYTES:]
        reference, cause = how_it_ended(status)
        return self._failed(cause if self._stage else f"{cause} while it was loaded", reference=reference)

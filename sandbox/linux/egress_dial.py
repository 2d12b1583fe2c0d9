"""Dialling outside: look the name up without blocking the loop, then try its addresses as browsers do.

`getaddrinfo` blocks and cannot be interrupted, so a few daemon threads ask it; at most one look-up of a name
is under way at a time. Addresses are tried alternating between IPv6 and IPv4, each a quarter of a second
after the one before; the first that answers wins (happy eyeballs).

Source: RFC 8305 (happy eyeballs), getaddrinfo(3), connect(2).
"""

from __future__ import annotations

import errno
import itertools
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence

from sandbox.linux.egress_loop import WRITE, Loop, Timer
from sandbox.linux.egress_reach import Reach

SocketAddress = tuple[str, int]
"""An address literal, IPv6 possibly with its scope, and a port."""
Resolve = Callable[[str, int], Sequence[SocketAddress]]
"""From a name and a port to the addresses to dial, best first. Raises OSError."""
Answer = tuple[SocketAddress, ...] | OSError

LOOKUP_THREADS = 4
ANSWER_SECONDS = 30.0
"""How long a look-up's answer is used again; `getaddrinfo` does not tell the records' own lifetime."""
STAGGER_SECONDS = 0.25
"""RFC 8305, section 5."""
_MAX_ADDRESSES = 16


def system_resolve(name: str, port: int) -> list[SocketAddress]:
    """Ask the machine's own resolver. Raises OSError."""
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [(str(address[0]), int(address[1])) for _, _, _, _, address in found]


class Lookups:
    """Name look-ups on a few threads, answered on the loop's."""

    def __init__(self, loop: Loop, resolve: Resolve) -> None:
        self._loop = loop
        self._resolve = resolve
        self._work: queue.SimpleQueue[tuple[str, int] | None] = queue.SimpleQueue()
        self._threads = 0
        self._waiting: dict[tuple[str, int], list[Callable[[Answer], None]]] = {}
        self._answers: dict[tuple[str, int], tuple[float, Answer]] = {}

    def find(self, name: str, port: int, done: Callable[[Answer], None]) -> None:
        """Call `done` with the addresses or with the OSError, now or later, on the loop's thread."""
        key = (name, port)
        expires, answer = self._answers.get(key, (0.0, ()))
        if time.monotonic() < expires:
            done(answer)
            return
        waiting = self._waiting.setdefault(key, [])
        waiting.append(done)
        if len(waiting) > 1:
            return
        if self._threads < min(LOOKUP_THREADS, len(self._waiting)) and not self._start_thread():
            self._finish(key, OSError("no thread can be started to look the name up"))
            return
        self._work.put(key)

    def close(self) -> None:
        """Let the threads end. They are not waited for: a look-up can take as long as its server likes."""
        for _ in range(self._threads):
            self._work.put(None)

    def _start_thread(self) -> bool:
        """Start one more thread; tell whether there is any."""
        try:
            threading.Thread(target=self._serve, name="egress-lookup", daemon=True).start()
        except RuntimeError:
            return self._threads > 0
        self._threads += 1
        return True

    def _serve(self) -> None:
        while (key := self._work.get()) is not None:
            answer: Answer
            try:
                answer = tuple(self._resolve(*key))[:_MAX_ADDRESSES]
            except (OSError, UnicodeError) as error:
                answer = OSError(str(getattr(error, "strerror", None) or error))
            except Exception as error:  # An injected resolver's; its callers must not wait for ever.
                answer = OSError(f"the resolver failed with {error!r}")
            self._loop.call_soon(lambda key=key, answer=answer: self._finish(key, answer))  # type: ignore[misc]

    def _finish(self, key: tuple[str, int], answer: Answer) -> None:
        if not isinstance(answer, OSError):
            self._answers[key] = (time.monotonic() + ANSWER_SECONDS, answer)
        for done in self._waiting.pop(key, []):
            done(answer)


class Dial:
    """One attempt to reach a host at any of its addresses; calls `done` once, with a socket or a reason."""

    def __init__(
        self, loop: Loop, *, timeout_seconds: float, done: Callable[[socket.socket | str], None]
    ) -> None:
        self._loop = loop
        self._done = done
        self._ahead: list[SocketAddress] = []
        self._attempts: dict[int, socket.socket] = {}
        self._reason = "no address"
        self._ended = False
        self._stagger: Timer | None = None
        self._deadline = loop.after(timeout_seconds, lambda: self._fail("timed out"))

    def start(self, answer: Answer, reach: Reach | None) -> None:
        """Begin with what the look-up found, without what `reach` refuses; None is for listed addresses."""
        if self._ended:
            return
        if isinstance(answer, OSError):
            self._fail(str(answer))
            return
        allowed = []
        for address in answer:
            refusal = reach.refusal(*address) if reach is not None else None
            if refusal is None:
                allowed.append(address)
            else:
                self._reason = refusal
        self._ahead = _alternate(allowed)
        self._next()

    def abort(self) -> None:
        """Give up without calling `done`."""
        self._ended = True
        self._deadline.cancel()
        if self._stagger is not None:
            self._stagger.cancel()
        for descriptor, attempt in self._attempts.items():
            self._loop.forget(descriptor)
            attempt.close()
        self._attempts.clear()

    def ready(self, descriptor: int, events: int) -> None:
        """A connection attempt ended, well or not."""
        attempt = self._attempts.get(descriptor)
        if attempt is None:
            return
        failure = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not failure and not events & WRITE:
            return
        del self._attempts[descriptor]
        self._loop.forget(descriptor)
        if failure:
            attempt.close()
            self._reason = os.strerror(failure).lower()
            self._next()
            return
        self.abort()
        self._done(attempt)

    def _next(self) -> None:
        """Try one more address; fail when none is left and no attempt is under way."""
        if self._stagger is not None:
            self._stagger.cancel()
        while self._ahead:
            host, port = self._ahead.pop(0)
            attempt = self._connect(host, port)
            if attempt is not None:
                self._attempts[attempt.fileno()] = attempt
                self._loop.watch(attempt.fileno(), WRITE, self)
                if self._ahead:
                    self._stagger = self._loop.after(STAGGER_SECONDS, self._next)
                return
        if not self._attempts:
            self._fail(self._reason)

    def _connect(self, host: str, port: int) -> socket.socket | None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            attempt = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            self._reason = (error.strerror or str(error)).lower()
            return None
        try:
            code = attempt.connect_ex(_with_scope(host, port))
        except OSError as error:
            code = error.errno or errno.EINVAL
        if code not in (0, errno.EINPROGRESS):
            self._reason = os.strerror(code).lower()
            attempt.close()
            return None
        return attempt

    def _fail(self, reason: str) -> None:
        if not self._ended:
            self.abort()
            self._done(reason)


def _with_scope(host: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """A socket address; a link-local one names its interface, `fe80::1%eth0`."""
    address, _, scope = host.partition("%")
    if not scope:
        return (address, port)
    return (address, port, 0, int(scope) if scope.isdigit() else socket.if_nametoindex(scope))


def _alternate(addresses: Sequence[SocketAddress]) -> list[SocketAddress]:
    """Take the families in turn, beginning with the resolver's first choice."""
    ipv6 = [each for each in addresses if ":" in each[0]]
    ipv4 = [each for each in addresses if ":" not in each[0]]
    first, second = (ipv6, ipv4) if addresses and ":" in addresses[0][0] else (ipv4, ipv6)
    pairs = itertools.zip_longest(first, second)
    return [each for pair in pairs for each in pair if each is not None]

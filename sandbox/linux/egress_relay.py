"""One connection from inside, carried to its host: the bytes, the half-closes, the resets.

Nothing is stored on the way. Bytes are peeked from the socket they came in on, sent, and only what was taken
is then removed; what a slow reader has not taken stays in the sender's own socket, where TCP holds the sender
back. So memory does not grow with the number of connections or with how slowly anyone reads, and one buffer
serves them all. Measured beside `splice(2)`: as fast at one MiB, and no pipe a direction.

Source: tcp(7) (`MSG_PEEK`, and `MSG_TRUNC` to discard), socket(7) (`SO_LINGER`), epoll(7).
"""

from __future__ import annotations

import contextlib
import enum
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox.linux.egress_dial import Dial, Lookups
from sandbox.linux.egress_loop import ERROR, HANG_UP, READ, WRITE, Loop
from sandbox.linux.egress_names import Directory, Host
from sandbox.linux.egress_reach import Reach
from sandbox.linux.egress_report import Tally
from sandbox.linux.egress_sniff import MAX_HELLO_BYTES, FirstBytes, sniff

BUFFER_BYTES = 1 << 20
"""One for all connections: what is peeked and sent in one go."""
_SNIFF_BYTES = 4096
_RESET = struct.pack("ii", 1, 0)  # `struct linger`, on with no time: close() then sends a reset


class Waits(enum.Enum):
    """What a flow needs before it can go on."""

    FOR_SOURCE = enum.auto()
    FOR_SINK = enum.auto()
    FOR_NOTHING = enum.auto()
    """The end was reached and passed on."""


class Flow:
    """One direction of a connection."""

    __slots__ = ("_moved", "_sink", "_source", "held", "waits")

    def __init__(self, source: socket.socket, sink: socket.socket, moved: Callable[[int], None]) -> None:
        self._source = source
        self._sink = sink
        self._moved = moved
        self.held = b""
        """The first bytes, when they had to be read before they could be passed on."""
        self.waits = Waits.FOR_SOURCE

    def pump(self, buffer: memoryview) -> None:
        """Move what can be moved at once, a buffer at most; pass the end on as a half-close.

        Raises: OSError when either side is broken.
        """
        try:
            if self.held:
                view = memoryview(self.held)
            else:
                count = self._source.recv_into(buffer, 0, socket.MSG_PEEK)
                if count == 0:
                    self._sink.shutdown(socket.SHUT_WR)
                    self.waits = Waits.FOR_NOTHING
                    return
                view = buffer[:count]
        except BlockingIOError:
            self.waits = Waits.FOR_SOURCE
            return
        try:
            sent = self._sink.send(view)
        except BlockingIOError:
            self.waits = Waits.FOR_SINK
            return
        if self.held:
            self.held = self.held[sent:]
        else:
            self._source.recv_into(buffer, sent, socket.MSG_TRUNC)
        self._moved(sent)
        self.waits = Waits.FOR_SINK if sent < len(view) or self.held else Waits.FOR_SOURCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What all connections of one sandbox share."""

    loop: Loop
    directory: Directory
    lookups: Lookups
    reach: Reach
    tally: Tally
    connect_timeout_seconds: float
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(BUFFER_BYTES)))


class Connection:
    """A connection accepted inside, from its first byte to its end.

    Dialling and judging the first bytes go on side by side, because in some protocols the server speaks
    first. Bytes to the host flow only when both are done.
    """

    def __init__(
        self,
        services: Services,
        inner: socket.socket,
        host: Host,
        port: int,
        *,
        closed: Callable[[Connection], None],
    ) -> None:
        """`closed` is called once, at the end."""
        self._services = services
        self._closed = closed
        self._inner = inner
        self._outer: socket.socket | None = None
        self._host = host
        self._port = port
        self._first = bytearray()
        # An address that was allowed as such says nothing about the names that are served there.
        self._is_judged = bool(host.fixed)
        self._up: Flow | None = None
        self._down: Flow | None = None
        self._ended = False
        self._is_draining = False
        self._dial = Dial(services.loop, timeout_seconds=services.connect_timeout_seconds, done=self._dialled)

    def start(self) -> None:
        """Begin to dial and to listen to the client."""
        self._services.tally.connected(self._host.name, self._port)
        try:
            _tune(self._inner)
        except OSError:
            self.abort()
            return
        self._watch()
        if self._host.fixed:
            self._dial.start(tuple((str(each), self._port) for each in self._host.fixed), None)
        else:
            self._services.lookups.find(self._host.name, self._port, self._found)

    def ready(self, descriptor: int, events: int) -> None:
        """Go on as far as possible without blocking."""
        if self._ended:
            return
        is_inner = descriptor == self._inner.fileno()
        if events & ERROR and is_inner:
            # Whoever asked is gone. An error outside is left to the flows: the host's last bytes come first.
            self._break("inside", self._inner.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            return
        try:
            if is_inner and not self._is_judged:
                self._judge()
            self._pump()
        except OSError as error:
            self._break("relay", error.errno or 0)
            return
        if not self._ended:
            self._watch(ended=descriptor if events & (ERROR | HANG_UP) else -1)

    def drain(self) -> None:
        """The payload is gone: deliver what it had sent, wait for no answer, then end."""
        self._is_draining = True
        if self._up is None and not self._first and self._has_nothing_to_say():
            self.abort()
        self.ready(-1, 0)

    def _has_nothing_to_say(self) -> bool:
        """Tell whether the client is gone without a word, so that nobody need be reached for it."""
        try:
            return not self._inner.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def abort(self) -> None:
        """End both sides with a reset."""
        self._end(with_reset=True)

    def _break(self, where: str, number: int) -> None:
        self._services.tally.broken(self._host.name, self._port, f"{where}: {os.strerror(number).lower()}")
        self.abort()

    def _found(self, answer: tuple[tuple[str, int], ...] | OSError) -> None:
        if not self._ended:
            self._dial.start(answer, self._services.reach)

    def _dialled(self, outcome: socket.socket | str) -> None:
        if isinstance(outcome, str):
            self._services.tally.unreachable(self._host.name, self._port, outcome)
            self.abort()
            return
        self._outer = outcome
        try:
            _tune(outcome)
            outcome.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError:
            self.abort()
            return
        tally, name, port = self._services.tally, self._host.name, self._port
        self._up = Flow(self._inner, outcome, lambda count: tally.moved(name, port, sent_bytes=count))
        self._down = Flow(outcome, self._inner, lambda count: tally.moved(name, port, received_bytes=count))
        if self._is_judged:
            self._hand_over()
        self.ready(-1, 0)

    def _judge(self) -> None:
        """Read the client's first bytes until they are known to be harmless, or are not."""
        try:
            taken = self._inner.recv(min(_SNIFF_BYTES, MAX_HELLO_BYTES - len(self._first)))
        except BlockingIOError:
            return
        self._first += taken
        sniffed = sniff(bytes(self._first))
        if sniffed.kind is FirstBytes.INCOMPLETE and taken:
            return
        name = sniffed.server_name
        refused = sniffed.kind is FirstBytes.MALFORMED or (
            # An unfinished greeting followed by the end is nothing that could be relied on either.
            sniffed.kind is FirstBytes.INCOMPLETE and bool(self._first)
        )
        if refused or (name is not None and not self._services.directory.allows(name, self._port)):
            self._services.tally.refused_server(self._host.name, self._port, name)
            self.abort()
            return
        self._is_judged = True
        self._hand_over()

    def _hand_over(self) -> None:
        """Give the bytes that were judged to the flow, once there is one."""
        if self._up is not None:
            self._up.held = bytes(self._first)
            self._first.clear()

    def _pump(self) -> None:
        if self._ended or self._up is None or self._down is None:
            return
        if self._is_judged and self._up.waits is not Waits.FOR_NOTHING:
            self._up.pump(self._services.buffer)
        if self._down.waits is not Waits.FOR_NOTHING:
            self._down.pump(self._services.buffer)
        if self._up.waits is Waits.FOR_NOTHING and (
            self._is_draining or self._down.waits is Waits.FOR_NOTHING
        ):
            self._end()

    def _watch(self, ended: int = -1) -> None:
        """Ask the loop for exactly what each flow waits for.

        epoll reports a hang-up or an error without pause, asked or not. So the side that has `ended` is no
        longer watched while no flow waits for it: while the other side still takes its last bytes.
        """
        inner = outer = 0
        if not self._is_judged:
            inner |= READ
        elif self._up is not None:
            inner |= READ if self._up.waits is Waits.FOR_SOURCE else 0
            outer |= WRITE if self._up.waits is Waits.FOR_SINK else 0
        if self._down is not None:
            outer |= READ if self._down.waits is Waits.FOR_SOURCE else 0
            inner |= WRITE if self._down.waits is Waits.FOR_SINK else 0
        for side, events in ((self._inner, inner), (self._outer, outer)):
            if side is None:
                continue
            if events or side.fileno() != ended:
                self._services.loop.watch(side.fileno(), events, self)
            else:
                self._services.loop.forget(ended)

    def _end(self, *, with_reset: bool = False) -> None:
        if self._ended:
            return
        self._ended = True
        self._dial.abort()
        for side in (self._inner, self._outer):
            if side is not None:
                self._services.loop.forget(side.fileno())
                if with_reset:
                    reset(side)
                else:
                    side.close()
        self._closed(self)


def reset(side: socket.socket) -> None:
    """Close a connection so that its other end is told of a failure and not of an end."""
    with contextlib.suppress(OSError):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    side.close()


def _tune(side: socket.socket) -> None:
    """Pass small writes on at once: the ends decide what to gather, not the relay between them."""
    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

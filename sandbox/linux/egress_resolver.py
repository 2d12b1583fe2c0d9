"""The resolver's sockets: queries from inside, over UDP and TCP, answered from the allow-list alone.

No query ever leaves: an answer depends on nothing but the policy, so there is no tunnel through names.

Source: RFC 1035, section 4.2; RFC 7766 (DNS over TCP).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from sandbox.linux.egress_dns import MAX_QUERY_BYTES, Addresses, Lookup, Question, answer
from sandbox.linux.egress_loop import READ, WRITE, Loop, Timer
from sandbox.linux.egress_names import Directory
from sandbox.linux.egress_report import Tally

MAX_STREAMS = 64
IDLE_SECONDS = 10.0
_DATAGRAMS_A_ROUND = 64
_MAX_UNSENT_BYTES = 16384
_PAUSE_SECONDS = 0.1
"""How long nothing is accepted after the process ran out of descriptors."""
_LOOPBACK = Addresses(ipv4=IPv4Address("127.0.0.1"), ipv6=IPv6Address("::1"))


def lookup_in(directory: Directory, tally: Tally, *, has_ipv6: bool) -> Lookup:
    """Make the function that answers questions from the allow-list and counts the refused ones."""

    def lookup(question: Question) -> Addresses | None:
        host = directory.find(question.name)
        if host is None:
            if question.name == "localhost" or question.name.endswith(".localhost"):
                return _LOOPBACK  # RFC 6761, section 6.3
            tally.refused_name(question)
            return None
        return Addresses(ipv4=host.ipv4, ipv6=host.ipv6 if has_ipv6 else None)

    return lookup


class Datagrams:
    """The UDP side."""

    def __init__(self, loop: Loop, endpoint: socket.socket, lookup: Lookup) -> None:
        self._loop = loop
        self._endpoint = endpoint
        self._lookup = lookup
        loop.watch(endpoint.fileno(), READ, self)

    def ready(self, descriptor: int, events: int) -> None:
        """Answer what has arrived, a bounded number, so that connections have their turn."""
        for _ in range(_DATAGRAMS_A_ROUND):
            try:
                query, sender = self._endpoint.recvfrom(MAX_QUERY_BYTES)
                reply = answer(query, self._lookup)
                if reply is not None:
                    self._endpoint.sendto(reply, sender)
            except OSError:
                return  # Nothing more to read, or an asker that is gone or does not read: it will ask again.

    def abort(self) -> None:
        """Answer no more."""
        if self._endpoint.fileno() >= 0:
            self._loop.forget(self._endpoint.fileno())
            self._endpoint.close()


class Streams:
    """The TCP side: the listener and its bounded number of connections."""

    def __init__(self, loop: Loop, listener: socket.socket, lookup: Lookup) -> None:
        self._loop = loop
        self._listener = listener
        self._lookup = lookup
        self._open: dict[Stream, None] = {}
        loop.watch(listener.fileno(), READ, self)

    def ready(self, descriptor: int, events: int) -> None:
        """Accept one connection; the oldest makes room."""
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:
            self._loop.watch(descriptor, 0, self)
            self._loop.after(_PAUSE_SECONDS, self._resume)
            return
        if len(self._open) >= MAX_STREAMS:
            next(iter(self._open)).abort()
        accepted.setblocking(False)
        stream = Stream(self._loop, accepted, self._lookup, closed=self._closed)
        self._open[stream] = None

    def abort(self) -> None:
        """Answer no more."""
        if self._listener.fileno() >= 0:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
        for stream in tuple(self._open):
            stream.abort()

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.watch(self._listener.fileno(), READ, self)

    def _closed(self, stream: Stream) -> None:
        self._open.pop(stream, None)


class Stream:
    """One TCP connection to the resolver, with queries one after the other."""

    def __init__(
        self, loop: Loop, connection: socket.socket, lookup: Lookup, *, closed: Callable[[Stream], None]
    ) -> None:
        self._loop = loop
        self._connection = connection
        self._lookup = lookup
        self._closed = closed
        self._received = bytearray()
        self._unsent = bytearray()
        self._has_ended = False
        self._idle = self._rearm(None)
        loop.watch(connection.fileno(), READ, self)

    def ready(self, descriptor: int, events: int) -> None:
        """Read queries, answer them, send; close at the asker's end or at any disorder."""
        try:
            if not self._has_ended and len(self._unsent) < _MAX_UNSENT_BYTES:
                self._receive()
            if self._unsent:
                del self._unsent[: self._connection.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.abort()
            return
        if self._has_ended and not self._unsent:
            self.abort()
            return
        wants_more = not self._has_ended and len(self._unsent) < _MAX_UNSENT_BYTES
        events = (READ if wants_more else 0) | (WRITE if self._unsent else 0)
        self._loop.watch(self._connection.fileno(), events, self)

    def abort(self) -> None:
        """Close."""
        if self._connection.fileno() >= 0:
            self._idle.cancel()
            self._loop.forget(self._connection.fileno())
            self._connection.close()
            self._closed(self)

    def _receive(self) -> None:
        try:
            data = self._connection.recv(MAX_QUERY_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._has_ended = True
            return
        self._received += data
        while len(self._received) >= 2:
            length = int.from_bytes(self._received[:2], "big")
            if not 0 < length <= MAX_QUERY_BYTES:
                raise OSError("not a DNS message")
            if len(self._received) < 2 + length:
                return
            reply = answer(bytes(self._received[2 : 2 + length]), self._lookup)
            del self._received[: 2 + length]
            if reply is not None:
                self._unsent += struct.pack("!H", len(reply)) + reply
        self._idle = self._rearm(self._idle)

    def _rearm(self, timer: Timer | None) -> Timer:
        if timer is not None:
            timer.cancel()
        return self._loop.after(IDLE_SECONDS, self.abort)

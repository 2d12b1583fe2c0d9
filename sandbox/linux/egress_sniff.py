"""The first bytes of a connection: is it TLS, and which server does it ask for? Pure, for hostile input.

A connection to an allowed address could ask the server there for another of its names (domain fronting), so
the name in the ClientHello must be allowed as well. A protocol that does not begin with a TLS record is none
of our business here. What begins with one and cannot be read to the end is refused, because a lenient server
might read another name in it than we do.

Plain HTTP's `Host` is deliberately not looked at: it may change with every request on one connection, so
checking the first would promise what it cannot keep.

Source: RFC 8446, sections 4.1.2 and 5.1; RFC 6066, section 3.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

MAX_HELLO_BYTES = 32768
"""A ClientHello with post-quantum key shares has about 2 KiB; what is larger than this is refused."""

_HANDSHAKE = 0x16
_RECORD_TYPES = range(0x14, 0x19)
"""TLS's content types. Some servers ignore a warning before the ClientHello, so none may come first."""
_CLIENT_HELLO = 1
_MAX_RECORD_BYTES = 1 << 14
_MAX_RECORDS = 64  # that a ClientHello may be spread over: reading it again for each byte must stay cheap
_SERVER_NAME = 0
_HOST_NAME = 0
_HOST_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")


class FirstBytes(enum.Enum):
    """What the first bytes of a connection turned out to be."""

    OPAQUE = enum.auto()
    """Not TLS."""
    INCOMPLETE = enum.auto()
    """So far they could be a ClientHello: more are needed."""
    HELLO = enum.auto()
    """A complete ClientHello."""
    MALFORMED = enum.auto()
    """Begins like TLS and is not a readable ClientHello."""


@dataclass(frozen=True, slots=True)
class Sniffed:
    """The verdict on the first bytes."""

    kind: FirstBytes
    server_name: str | None = None
    """For `HELLO`: the name asked for, lower case and printable, or None where the client names nobody."""


class _Malformed(Exception):  # noqa: N818 - a signal within this module
    pass


class _Reader:
    """A cursor over a vector that refuses to read beyond its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int) -> bytes:
        taken = self._data[self._position : self._position + count]
        if len(taken) != count:
            raise _Malformed
        self._position += count
        return taken

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def vector(self, length_bytes: int) -> _Reader:
        return _Reader(self.take(self.number(length_bytes)))

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._position)

    @property
    def is_empty(self) -> bool:
        return self._position == len(self._data)


_OPAQUE = Sniffed(FirstBytes.OPAQUE)
_INCOMPLETE = Sniffed(FirstBytes.INCOMPLETE)
_MALFORMED = Sniffed(FirstBytes.MALFORMED)


def sniff(data: bytes) -> Sniffed:
    """Judge the bytes that a client sent first; call again with more while the verdict is `INCOMPLETE`."""
    if not data:
        return _INCOMPLETE
    if data[0] not in _RECORD_TYPES or (len(data) > 1 and data[1] != 3):
        return _OPAQUE
    try:
        hello = _assemble(data)
        if hello is None:
            return _INCOMPLETE if len(data) < MAX_HELLO_BYTES else _MALFORMED
        return Sniffed(FirstBytes.HELLO, _server_name(_Reader(hello)))
    except _Malformed:
        return _MALFORMED


def _assemble(data: bytes) -> bytes | None:
    """Join the handshake's fragments over as many records as it takes; None while some are missing."""
    handshake = bytearray()
    position = 0
    for _ in range(_MAX_RECORDS):
        if handshake and handshake[0] != _CLIENT_HELLO:
            raise _Malformed
        if len(handshake) >= 4:
            length = int.from_bytes(handshake[1:4], "big")
            if length > MAX_HELLO_BYTES:
                raise _Malformed
            if len(handshake) >= 4 + length:
                return bytes(handshake[4 : 4 + length])
        header = data[position : position + 5]
        if len(header) < 5:
            return None
        length = int.from_bytes(header[3:5], "big")
        if header[0] != _HANDSHAKE or header[1] != 3 or not 0 < length <= _MAX_RECORD_BYTES:
            raise _Malformed
        handshake += data[position + 5 : position + 5 + length]
        position += 5 + length
    raise _Malformed


def _server_name(hello: _Reader) -> str | None:
    """Walk a ClientHello to its server name."""
    hello.take(2 + 32)  # legacy version, random
    hello.vector(1)  # session
    hello.vector(2)  # cipher suites
    hello.vector(1)  # compression methods
    if hello.is_empty:
        return None
    extensions = hello.vector(2)
    if not hello.is_empty:
        raise _Malformed
    name: str | None = None
    seen: set[int] = set()
    while not extensions.is_empty:
        kind = extensions.number(2)
        body = extensions.vector(2)
        if kind in seen:
            raise _Malformed
        seen.add(kind)
        if kind == _SERVER_NAME:
            name = _host_name(body)
    return name


def _host_name(body: _Reader) -> str:
    entries = body.vector(2)
    if not body.is_empty or entries.number(1) != _HOST_NAME:
        raise _Malformed
    raw = entries.vector(2)
    if not entries.is_empty:
        raise _Malformed
    text = raw.rest().decode("latin-1").lower().removesuffix(".")
    # What no host name has is told by its number: somebody may copy the name from a hint into a shell.
    return "".join(letter if letter in _HOST_LETTERS else f"\\{ord(letter):03d}" for letter in text)

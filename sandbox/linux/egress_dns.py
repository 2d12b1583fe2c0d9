"""The resolver's wire format: one query in, one answer out. Pure, and made for hostile input.

Only the header, one question and an EDNS record are ever read, every field of them bounded; nothing of a
query but its question is copied into the answer. Answers never exceed 512 bytes, so none is ever truncated.
Names that are not allowed do not exist (NXDOMAIN): `REFUSED` would make the C library ask again and then
report a temporary failure.

Source: RFC 1035 (format), RFC 6891 (EDNS), RFC 8482 (ANY), RFC 8914 (extended errors), RFC 4343 (case).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

A, AAAA, OPT, ANY = 1, 28, 41, 255
NOERROR, FORMERR, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 3, 4, 5
BADVERS = 16  # its upper bits travel in the OPT record

TTL_SECONDS = 60
UDP_PAYLOAD_BYTES = 1232
"""What we say we take (RFC 9715): nothing larger is ever useful."""
MAX_QUERY_BYTES = 4096
_MAX_RECORDS = 16
_BLOCKED = 15  # RFC 8914, section 4.16
_POINTER = 0xC0
_INTERNET = 1
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")


class _Malformed(Exception):  # noqa: N818 - a signal within this module
    """The query cannot be read as one."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    name: str
    """Lower case, no final dot; bytes that no host name has are written `\\DDD`, so it is safe to print."""
    kind: int
    """The record type, `A` or `AAAA` mostly."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """What a name stands for; both None is a name that exists without an address."""

    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None


Lookup = Callable[[Question], "Addresses | None"]
"""Returns None for a name that does not exist."""


@dataclass(frozen=True, slots=True)
class _Query:
    question: Question
    question_bytes: bytes
    edns_version: int | None


def answer(message: bytes, lookup: Lookup) -> bytes | None:
    """Answer one DNS message, or return None where silence is the answer: no header, or itself an answer."""
    message = message[:MAX_QUERY_BYTES]
    if len(message) < 12 or message[2] & 0x80:
        return None
    if message[2] & 0x78:
        return _failure(message, NOTIMP)
    try:
        query = _parse(message)
    except _Malformed:
        return _failure(message, FORMERR)
    if query is None:
        return _failure(message, REFUSED)
    if query.edns_version:
        return _header(message, BADVERS, (1, 0, 0, 1)) + query.question_bytes + _edns(BADVERS)
    found = lookup(query.question)
    code = NOERROR if found is not None else NXDOMAIN
    records = _records(query.question.kind, found) if found else []
    edns = _edns(code, blocked=found is None) if query.edns_version is not None else b""
    header = _header(message, code, (1, len(records), 0, 1 if edns else 0))
    return header + query.question_bytes + b"".join(records) + edns


def _parse(message: bytes) -> _Query | None:
    """Read the question and the EDNS version; None for a class that is not the internet's."""
    questions, answers, authorities, extra = struct.unpack_from("!HHHH", message, 4)
    if questions != 1 or answers + authorities + extra > _MAX_RECORDS:
        raise _Malformed
    labels, position = _labels(message, 12)
    if position + 4 > len(message):
        raise _Malformed
    kind, klass = struct.unpack_from("!HH", message, position)
    position += 4
    question_bytes = message[12:position]
    edns_version: int | None = None
    for _ in range(answers + authorities + extra):
        position = _skip_name(message, position)
        if position + 10 > len(message):
            raise _Malformed
        record, _size, ttl, length = struct.unpack_from("!HHIH", message, position)
        position += 10 + length
        if position > len(message):
            raise _Malformed
        if record == OPT:
            if edns_version is not None:
                raise _Malformed
            edns_version = ttl >> 16 & 0xFF
    if klass != _INTERNET:
        return None
    name = ".".join(_text(label) for label in labels)
    return _Query(Question(name, kind), question_bytes, edns_version)


def _labels(message: bytes, position: int) -> tuple[list[bytes], int]:
    """Read the question's name. A pointer there could only point into the header, so it is malformed."""
    labels: list[bytes] = []
    start = position
    while True:
        if position >= len(message) or position - start > 254:
            raise _Malformed
        length = message[position]
        position += 1
        if length == 0:
            return labels, position
        if length > 63 or position + length > len(message):
            raise _Malformed
        labels.append(message[position : position + length])
        position += length


def _skip_name(message: bytes, position: int) -> int:
    """Step over a record's owner; a pointer ends it and is not followed."""
    start = position
    while True:
        if position >= len(message) or position - start > 254:
            raise _Malformed
        length = message[position]
        if length == 0:
            return position + 1
        if length & _POINTER == _POINTER:
            return position + 2
        if length & _POINTER:
            raise _Malformed
        position += 1 + length


def _text(label: bytes) -> str:
    return "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03d}" for byte in label.lower())


def _records(kind: int, found: Addresses) -> list[bytes]:
    """Resource records whose owner is a pointer to the question's name."""
    records = []
    if kind in (A, ANY) and found.ipv4 is not None:
        records.append(struct.pack("!HHHIH", 0xC00C, A, _INTERNET, TTL_SECONDS, 4) + found.ipv4.packed)
    if kind in (AAAA, ANY) and found.ipv6 is not None:
        records.append(struct.pack("!HHHIH", 0xC00C, AAAA, _INTERNET, TTL_SECONDS, 16) + found.ipv6.packed)
    return records


def _edns(code: int, *, blocked: bool = False) -> bytes:
    """An OPT record; a refused name says so there, and `dig` shows it."""
    options = b""
    if blocked:
        text = struct.pack("!H", _BLOCKED) + b"not on the network allow-list"
        options = struct.pack("!HH", 15, len(text)) + text  # option 15 is the extended error, RFC 8914
    return struct.pack("!BHHIH", 0, OPT, UDP_PAYLOAD_BYTES, code >> 4 << 24, len(options)) + options


def _header(query: bytes, code: int, counts: tuple[int, int, int, int]) -> bytes:
    """An answer that is authoritative and recursive; opcode, RD and CD are the query's own."""
    identifier, flags = struct.unpack_from("!HH", query)
    return struct.pack("!HHHHHH", identifier, 0x8480 | flags & 0x7910 | code & 0xF, *counts)


def _failure(query: bytes, code: int) -> bytes:
    return _header(query, code, (0, 0, 0, 0))

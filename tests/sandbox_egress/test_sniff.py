"""The first bytes of a connection: what a real client says, in any pieces, and what hostile ones say."""

from __future__ import annotations

import ssl
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.linux.egress_sniff import MAX_HELLO_BYTES, FirstBytes, sniff


def greeting(name: str | None, *, alpn: bool = False) -> bytes:
    """What OpenSSL sends first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(["h2", "http/1.1"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def records(handshake: bytes, size: int) -> bytes:
    pieces = [handshake[start : start + size] for start in range(0, len(handshake), size)]
    return b"".join(b"\x16\x03\x01" + struct.pack("!H", len(each)) + each for each in pieces)


def extension(kind: int, body: bytes) -> bytes:
    return struct.pack("!HH", kind, len(body)) + body


def server_name(name: bytes, kind: int = 0) -> bytes:
    entry = bytes([kind]) + struct.pack("!H", len(name)) + name
    return extension(0, struct.pack("!H", len(entry)) + entry)


def hello(extensions: bytes, *, tail: bytes = b"") -> bytes:
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    body += struct.pack("!H", len(extensions)) + extensions + tail
    return b"\x01" + len(body).to_bytes(3, "big") + body


GREETING = greeting("api.example.com", alpn=True)


@pytest.mark.parametrize("name", ["api.example.com", "xn--bcher-kva.example", "a.b.c.d.example", None])
def test_the_name_a_real_client_asks_for(name: str | None) -> None:
    sniffed = sniff(greeting(name))
    assert (sniffed.kind, sniffed.server_name) == (FirstBytes.HELLO, name)


def test_every_beginning_of_a_greeting_is_incomplete() -> None:
    for length in range(len(GREETING)):
        assert sniff(GREETING[:length]).kind is FirstBytes.INCOMPLETE
    assert sniff(GREETING + b"more").server_name == "api.example.com"


@settings(deadline=None)
@given(st.integers(9, 600))
def test_a_greeting_over_many_records_is_the_same_greeting(size: int) -> None:
    data = records(GREETING[5:], size)
    assert sniff(data).server_name == "api.example.com"
    assert sniff(data[:-1]).kind is FirstBytes.INCOMPLETE


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n", b"SSH-2.0-x\r\n", b"\0", b"\x80\x2e\x01\x03\x01", b"\x16\x02", b"\x13\x03\x03"],
)
def test_what_is_not_tls_is_none_of_our_business(data: bytes) -> None:
    assert sniff(data).kind is FirstBytes.OPAQUE


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(records(GREETING[5:], 1), id="a byte a record"),
        pytest.param(b"\x15\x03\x01\0\x02\x01\x64" + GREETING, id="a warning first"),
        pytest.param(b"\x16\x03\x01\0\0", id="empty record"),
        pytest.param(b"\x16\x03\x01\xff\xff", id="record too long"),
        pytest.param(records(b"\x02" + GREETING[6:], 600), id="another handshake message"),
        pytest.param(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", id="hello too long"),
        pytest.param(records(GREETING[5:], 300)[:305] + b"\x17\x03\x03\0\x01x", id="other record between"),
        pytest.param(records(hello(server_name(b"a.example") * 2), 600), id="two names extensions"),
        pytest.param(records(hello(server_name(b"a.example", kind=1)), 600), id="name of another kind"),
        pytest.param(records(hello(extension(0, b"\0\x05\0\0\x03ab")), 600), id="name cut"),
        pytest.param(records(hello(extension(0, b"\0\x05\0\0\x02abc")), 600), id="lengths differ"),
        pytest.param(records(hello(extension(0, b"\0\x0a" + b"\0\0\x02ab" * 2)), 600), id="two names"),
        pytest.param(records(hello(b"", tail=b"x"), 600), id="something after"),
        pytest.param(records(hello(b"\0"), 600), id="half an extension"),
        pytest.param(b"\x16\x03\x01\x40\x00\x01\x00\x80\x01" + bytes(MAX_HELLO_BYTES), id="endless"),
    ],
)
def test_what_begins_like_tls_and_cannot_be_read_is_malformed(data: bytes) -> None:
    assert sniff(data).kind is FirstBytes.MALFORMED


def test_a_hello_without_extensions_names_nobody() -> None:
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    sniffed = sniff(records(b"\x01" + len(body).to_bytes(3, "big") + body, 600))
    assert (sniffed.kind, sniffed.server_name) == (FirstBytes.HELLO, None)


def test_names_are_compared_and_printed_safely() -> None:
    sniffed = sniff(records(hello(server_name(b"A.Example.\x1b[31m\xff \0")), 600))
    assert sniffed.server_name == "a.example.\\027\\09131m\\255\\032\\000"
    assert sniff(records(hello(server_name(b"API.Example.COM.")), 600)).server_name == "api.example.com"


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_rubbish_never_fails(data: bytes) -> None:
    sniff(data)
    sniff(b"\x16\x03\x01" + data)


@settings(deadline=None)
@given(st.data())
def test_a_damaged_greeting_never_fails_and_never_changes_its_mind(data: st.DataObject) -> None:
    damaged = bytearray(GREETING)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(1, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    verdict = sniff(bytes(damaged))
    if verdict.kind not in (FirstBytes.INCOMPLETE, FirstBytes.OPAQUE):
        assert sniff(bytes(damaged) + b"more").kind is verdict.kind
    if verdict.server_name is not None:
        assert verdict.server_name.isascii()
        assert verdict.server_name == "" or verdict.server_name.isprintable()

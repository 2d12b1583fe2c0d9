"""The resolver's wire format: what is asked is answered, what is rubbish is survived."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.linux.egress_dns import AAAA, ANY, A, Addresses, Question, answer

KNOWN = Addresses(ipv4=IPv4Address("198.18.1.0"), ipv6=IPv6Address("64:ff9b:1::c612:100"))
HTTPS, SVCB, TXT, MX = 65, 64, 16, 15
EDNS = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)


def lookup(question: Question) -> Addresses | None:
    return KNOWN if question.name == "api.example.com" else None


def encode(name: str) -> bytes:
    labels = name.encode().split(b".")
    return b"".join(bytes([len(each)]) + each for each in labels) + b"\0"


def query(
    name: bytes, kind: int = A, *, klass: int = 1, flags: int = 0x0100, extra: bytes = b"", records: int = 0
) -> bytes:
    return (
        struct.pack("!HHHHHH", 0xBEEF, flags, 1, 0, 0, records)
        + name
        + struct.pack("!HH", kind, klass)
        + extra
    )


def code(reply: bytes | None) -> int:
    assert reply is not None
    return reply[3] & 0xF


def counts(reply: bytes) -> tuple[int, ...]:
    return struct.unpack_from("!HHHH", reply, 4)


def test_an_allowed_name_has_its_addresses() -> None:
    reply = answer(query(encode("api.example.com")), lookup)
    assert reply is not None
    assert reply[:2] == b"\xbe\xef"
    assert struct.unpack_from("!H", reply, 2)[0] == 0x8580, "response, authoritative, RD copied, RA, no error"
    assert counts(reply) == (1, 1, 0, 0)
    assert reply.endswith(struct.pack("!HHHIH", 0xC00C, A, 1, 60, 4) + KNOWN.ipv4.packed)  # type: ignore[union-attr]
    reply = answer(query(encode("api.example.com"), AAAA), lookup)
    assert reply is not None
    assert reply.endswith(struct.pack("!HH", 60, 16)[2:] + KNOWN.ipv6.packed)  # type: ignore[union-attr]


def test_the_question_comes_back_letter_by_letter() -> None:
    name = encode("aPi.eXAMple.cOM")
    reply = answer(query(name), lookup)
    assert reply is not None
    assert counts(reply)[1] == 1
    assert reply[12 : 12 + len(name)] == name


@pytest.mark.parametrize("kind", [HTTPS, SVCB, TXT, MX, 2, 5, 6, 12, 33, 0, 65535])
def test_other_types_of_an_allowed_name_have_no_data(kind: int) -> None:
    reply = answer(query(encode("api.example.com"), kind), lookup)
    assert code(reply) == 0
    assert reply is not None
    assert counts(reply) == (1, 0, 0, 0)


def test_any_is_both_addresses() -> None:
    reply = answer(query(encode("api.example.com"), ANY), lookup)
    assert reply is not None
    assert counts(reply)[1] == 2


def test_without_ipv6_its_type_has_no_data() -> None:
    reply = answer(query(encode("a"), AAAA), lambda _: Addresses(ipv4=KNOWN.ipv4))
    assert code(reply) == 0
    assert reply is not None
    assert counts(reply)[1] == 0


@pytest.mark.parametrize("kind", [A, AAAA, HTTPS, TXT])
def test_other_names_do_not_exist(kind: int) -> None:
    assert code(answer(query(encode("secret-in-a-name.evil.example"), kind), lookup)) == 3


def test_edns_is_answered_in_kind_and_says_why() -> None:
    reply = answer(query(encode("evil.example"), extra=EDNS, records=1), lookup)
    assert code(reply) == 3
    assert reply is not None
    assert counts(reply) == (1, 0, 0, 1)
    assert b"not on the network allow-list" in reply
    reply = answer(query(encode("api.example.com"), extra=EDNS, records=1), lookup)
    assert reply is not None
    assert counts(reply) == (1, 1, 0, 1)
    assert reply.endswith(EDNS)


def test_a_newer_edns_is_told_so() -> None:
    newer = b"\0" + struct.pack("!HHIH", 41, 1232, 1 << 16, 0)
    reply = answer(query(encode("api.example.com"), extra=newer, records=1), lookup)
    assert code(reply) == 0
    assert reply is not None
    assert reply.endswith(b"\0" + struct.pack("!HHIH", 41, 1232, 1 << 24, 0)), "BADVERS, upper bits"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param(b"", None, id="empty"),
        pytest.param(b"\0" * 11, None, id="no header"),
        pytest.param(query(encode("api.example.com"), flags=0x8180), None, id="an answer"),
        pytest.param(b"\0" * 12, 1, id="no question"),
        pytest.param(query(encode("api.example.com"), flags=0x2800), 4, id="update"),
        pytest.param(query(encode("api.example.com"), klass=3), 5, id="chaos"),
        pytest.param(query(encode("api.example.com"))[:-1], 1, id="cut"),
        pytest.param(query(b"\xc0\x0c"), 1, id="pointer to itself"),
        pytest.param(query(b"\x03api\xc0\x00"), 1, id="pointer into the header"),
        pytest.param(query(b"\x40" + b"a" * 64 + b"\0"), 1, id="label too long"),
        pytest.param(query(b"\x3f" + b"a" * 63 + b"\x3f" + b"b" * 63), 1, id="name without end"),
        pytest.param(query((b"\x3f" + b"a" * 63) * 5 + b"\0"), 1, id="name too long"),
        pytest.param(query(encode("a"), extra=EDNS * 2, records=2), 1, id="two OPT"),
        pytest.param(query(encode("a"), extra=EDNS[:-1], records=1), 1, id="OPT cut"),
        pytest.param(query(encode("a"), records=17), 1, id="too many records"),
        pytest.param(query(encode("a"), records=1), 1, id="record missing"),
    ],
)
def test_malformed_queries(message: bytes, expected: int | None) -> None:
    reply = answer(message, lambda _: KNOWN)
    assert (None if reply is None else code(reply)) == expected


def test_a_dot_within_a_label_makes_no_other_name() -> None:
    seen: list[str] = []
    answer(query(b"\x0fapi.example.com\0"), lambda question: seen.append(question.name))
    answer(query(b"\x03api\x07exam\0le\x03com\0"), lambda question: seen.append(question.name))
    assert seen == ["api\\046example\\046com", "api.exam\\000le.com"]


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_rubbish_never_fails(message: bytes) -> None:
    check(message)


@settings(deadline=None)
@given(st.data())
def test_damaged_queries_never_fail(data: st.DataObject) -> None:
    name = b"".join(
        bytes([len(each)]) + each
        for each in data.draw(st.lists(st.binary(min_size=1, max_size=63), max_size=3))
    )
    message = bytearray(query(name + b"\0", data.draw(st.sampled_from([A, AAAA, 65])), extra=EDNS, records=1))
    for _ in range(data.draw(st.integers(0, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(message[: data.draw(st.integers(0, len(message)))]))


def check(message: bytes) -> None:
    """Whatever comes in, what goes out is an answer to it, short, and every name seen can be printed."""
    asked: list[Question] = []

    def note(question: Question) -> Addresses | None:
        asked.append(question)
        return KNOWN if len(question.name) % 2 else None

    reply = answer(message, note)
    assert len(asked) <= 1
    assert all(each.name.isascii() and (not each.name or each.name.isprintable()) for each in asked)
    if reply is None:
        assert len(message) < 12 or message[2] & 0x80
        return
    assert len(reply) <= 512
    assert reply[:2] == message[:2]
    assert reply[2] & 0x80
    if asked:
        assert counts(reply)[0] == 1

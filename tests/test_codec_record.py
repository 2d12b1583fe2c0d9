"""RECORD: rows to model and back."""

from __future__ import annotations

import base64
import csv
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypm.codec.record import RecordRow, dump_record, parse_record, urlsafe_base64
from pypm.errors import IntegrityError
from pypm.model.artifact import Sha256

DIGEST = hashlib.sha256(b"x")
ENCODED = base64.urlsafe_b64encode(DIGEST.digest()).rstrip(b"=").decode()


def test_rows_are_read() -> None:
    rows = parse_record(f'a.py,sha256={ENCODED},1\n"with,comma.py",,\r\n\n'.encode())
    assert rows == (
        RecordRow(path="a.py", sha256=Sha256(DIGEST.hexdigest()), size_bytes=1),
        RecordRow(path="with,comma.py"),
    )


def test_padding_is_tolerated_and_never_written() -> None:
    (row,) = parse_record(f"a,sha256={ENCODED}=,1\n".encode())
    assert row.sha256 == DIGEST.hexdigest()
    assert dump_record((row,)) == f"a,sha256={ENCODED},1\n".encode()


def test_a_stronger_hash_is_kept_as_written() -> None:
    encoded = base64.urlsafe_b64encode(hashlib.sha512(b"x").digest()).rstrip(b"=").decode()
    (row,) = parse_record(f"a,sha512={encoded},1\n".encode())
    assert row.sha256 is None
    assert row.stronger_hash == f"sha512={encoded}"
    assert parse_record(dump_record((row,))) == (row,)


@pytest.mark.parametrize(
    "line",
    [
        "a,md5=abc,1",
        f"a,sha256={ENCODED[:-4]},1",
        "a,sha256=!!!!,1",
        f"a,sha256={ENCODED},-1",
        f"a,sha256={ENCODED},1e3",
        f"a,sha256={ENCODED},٣",
        "a,b",
        ",,",
        "a,,,",
        '"unclosed,,',
    ],
)
def test_malformed_rows_are_refused(line: str) -> None:
    with pytest.raises(IntegrityError) as raised:
        parse_record(f"{line}\n".encode())
    assert raised.value.reference == "malformed-record"


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(IntegrityError):
        parse_record(b"\xff\xfe,,\n")


ROWS = st.builds(
    lambda path, digest, size: RecordRow(path=path, sha256=Sha256(digest.hex()), size_bytes=size),
    st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc")), min_size=1),
    st.binary(min_size=32, max_size=32),
    st.none() | st.integers(min_value=0, max_value=1 << 50),
)


@given(st.lists(ROWS))
def test_what_is_written_reads_the_same(rows: list[RecordRow]) -> None:
    assert parse_record(dump_record(rows)) == tuple(rows)


@given(st.binary(min_size=32, max_size=32))
def test_base64_matches_the_standard_library(digest: bytes) -> None:
    expected = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert urlsafe_base64(Sha256(digest.hex())) == expected


@given(st.binary(max_size=200))
def test_garbage_never_escapes_as_another_error(content: bytes) -> None:
    try:
        parse_record(content)
    except IntegrityError:
        pass
    except csv.Error:  # pragma: no cover
        pytest.fail("a foreign error escaped")

"""RECORD of a wheel: which files it holds, with the hash and size of each.

Source: the "Recording installed projects" specification; PEP 376, PEP 427.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

from pypm.errors import IntegrityError
from pypm.model.artifact import Sha256

_STRONGER = {"sha384": 48, "sha512": 64}
"""Algorithms besides sha256 that the specification admits, with their length in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRow:
    """One row of RECORD. Paths are as written: whoever writes files by them checks them."""

    path: str
    sha256: Sha256 | None = None
    """None for RECORD itself and its signatures, and where a stronger algorithm is used."""
    size_bytes: int | None = None
    stronger_hash: str | None = None
    """`sha512=...` or `sha384=...` as written, when the row has no sha256."""


def parse_record(content: bytes) -> tuple[RecordRow, ...]:
    """Return the rows in their order.

    Raises:
        IntegrityError: not UTF-8 CSV of three columns, or a hash or size that is not one.
    """
    try:
        text = content.decode("utf-8")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise IntegrityError(
            f"RECORD of the wheel cannot be read: {error}",
            reference="malformed-record",
        ) from error
    return tuple(_row(cells, number) for number, cells in enumerate(rows, start=1) if cells)


def dump_record(rows: Iterable[RecordRow]) -> bytes:
    """Return RECORD's bytes for these rows, in their order."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    for row in rows:
        hash_cell = f"sha256={urlsafe_base64(row.sha256)}" if row.sha256 else (row.stronger_hash or "")
        writer.writerow((row.path, hash_cell, "" if row.size_bytes is None else row.size_bytes))
    return stream.getvalue().encode("utf-8")


def urlsafe_base64(sha256: Sha256) -> str:
    """Return a hexadecimal digest as RECORD writes it: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(bytes.fromhex(sha256)).rstrip(b"=").decode("ascii")


def _row(cells: list[str], number: int) -> RecordRow:
    if len(cells) != 3 or not cells[0]:
        raise _malformed(number, f"has {len(cells)} columns instead of path, hash and size")
    path, hash_cell, size_cell = cells
    if size_cell and not (size_cell.isascii() and size_cell.isdigit() and len(size_cell) <= 18):
        raise _malformed(number, f"has the size `{size_cell}`")
    size_bytes = int(size_cell) if size_cell else None
    if not hash_cell:
        return RecordRow(path=path, size_bytes=size_bytes)
    algorithm, _, encoded = hash_cell.partition("=")
    if algorithm == "sha256":
        return RecordRow(path=path, sha256=Sha256(_decode(encoded, 32, number).hex()), size_bytes=size_bytes)
    if algorithm in _STRONGER:
        _decode(encoded, _STRONGER[algorithm], number)
        return RecordRow(path=path, size_bytes=size_bytes, stronger_hash=hash_cell)
    raise _malformed(number, f"uses `{algorithm}`, which is no longer a hash to rely on")


def _decode(encoded: str, length: int, number: int) -> bytes:
    padded = encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4)
    try:
        digest = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed(number, f"has the hash `{encoded}`, which is not base64") from error
    if len(digest) != length:
        raise _malformed(number, f"has a hash of {len(digest)} bytes instead of {length}")
    return digest


def _malformed(number: int, what: str) -> IntegrityError:
    return IntegrityError(f"row {number} of the wheel's RECORD {what}", reference="malformed-record")

"""The text files of a `.dist-info`: RECORD, WHEEL, METADATA's first lines, entry points.

Source: the PyPA specifications "Recording installed projects", "Binary distribution format" and "Entry
points".
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from keyword import iskeyword
from typing import NamedTuple

from .archive import check_path
from .layout import Wheel, check_program, is_unhashed
from .refusal import Refusal

_ALGORITHMS = ("sha256", "sha384", "sha512")
"""The specification asks for sha256 or better."""
_PROGRAM_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class Row(NamedTuple):
    """What RECORD says of one file."""

    algorithm: str
    digest: bytes
    size_bytes: int | None


def parse_record(content: bytes, wheel: Wheel) -> dict[str, Row]:
    """Return the rows by path, those of RECORD itself and its signatures left out."""
    rows: dict[str, Row] = {}
    try:
        table = list(csv.reader(io.StringIO(_decode(content, "RECORD"), newline=""), strict=True))
    except csv.Error as error:
        raise Refusal("malformed-record", f"RECORD cannot be read: {error}") from None
    for fields in table:
        if not fields:
            continue
        if len(fields) != 3:
            raise Refusal("malformed-record", f"the RECORD row of `{fields[0]}` has not three fields")
        path, digest, size = fields
        try:
            check_path(path)
        except Refusal as refusal:
            raise Refusal("unsafe-record", f"RECORD: {refusal.message}") from None
        if path in rows:
            raise Refusal("malformed-record", f"RECORD names `{path}` twice")
        if not is_unhashed(path, wheel):
            rows[path] = _row(path, digest, size)
    return rows


def _row(path: str, digest: str, size: str) -> Row:
    algorithm, _, value = digest.partition("=")
    if algorithm not in _ALGORITHMS:
        raise Refusal("malformed-record", f"RECORD has no sha256 or better for `{path}`")
    try:
        raw = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    if len(raw) != hashlib.new(algorithm).digest_size:
        raise Refusal("malformed-record", f"the hash of `{path}` in RECORD is malformed")
    if size and not (size.isascii() and size.isdigit()):
        raise Refusal("malformed-record", f"the size of `{path}` in RECORD is malformed")
    return Row(algorithm, raw, int(size) if size else None)


def _decode(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refusal("malformed-metadata", f"`{name}` is not UTF-8") from None


def headers(content: bytes, name: str) -> dict[str, str]:
    """Return the first value of each header, by lower-case name, up to the first blank line."""
    found: dict[str, str] = {}
    for line in _decode(content, name).splitlines():
        if not line.strip():
            break
        key, colon, value = line.partition(":")
        if colon and not key.startswith((" ", "\t")):
            found.setdefault(key.strip().lower(), value.strip())
    return found


def check_wheel_file(content: bytes) -> None:
    """Refuse a wheel format that this unpacker does not know."""
    fields = headers(content, "WHEEL")
    version = fields.get("wheel-version", "")
    if not re.fullmatch(r"1\.\d+", version):
        raise Refusal("wheel-version", f"the wheel format `{version or 'unknown'}` is not supported")
    if fields.get("root-is-purelib", "").lower() not in ("true", "false"):
        raise Refusal("malformed-metadata", "`Root-Is-Purelib` in WHEEL is neither true nor false")


def parse_entry_points(content: bytes) -> list[tuple[str, str, str, bool]]:
    """Return the scripts as (name, module, attribute, gui); other groups are not ours to read."""
    found: list[tuple[str, str, str, bool]] = []
    names: set[str] = set()
    section = ""
    for line in _decode(content, "entry_points.txt").splitlines():
        text = line.strip()
        if not text or text.startswith(("#", ";")):
            continue
        if text.startswith("[") and text.endswith("]"):
            section = text[1:-1].strip()
            continue
        if section not in ("console_scripts", "gui_scripts"):
            continue
        name, module, attribute = _entry_point(text)
        if name in names:
            raise Refusal("entry-point", f"two entry points are named `{name}`")
        names.add(name)
        found.append((name, module, attribute, section == "gui_scripts"))
    return found


def _entry_point(text: str) -> tuple[str, str, str]:
    """Split `name = module:attribute [extras]`; what is written into a program must be identifiers."""
    name, equals, reference = (part.strip() for part in text.partition("="))
    module, colon, attribute = (part.strip() for part in reference.split("[", 1)[0].partition(":"))
    if not equals or not _PROGRAM_NAME.fullmatch(name):
        raise Refusal("entry-point", f"the entry point `{text}` has no usable name")
    check_program(name)
    if not colon or not _is_dotted(module) or not _is_dotted(attribute):
        raise Refusal("entry-point", f"the entry point `{text}` does not name a module and an attribute")
    return name, module, attribute


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() and not iskeyword(part) for part in text.split("."))

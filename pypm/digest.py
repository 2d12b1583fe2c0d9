"""SHA-256: of bytes, of files, as text, and over structured content."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NewType, TypeAlias

from pypm.errors import IntegrityError
from pypm.files import storage_errors
from pypm.regular import open_regular

Sha256 = NewType("Sha256", str)
"""64 lower-case hexadecimal digits, without the `sha256:` prefix. Checked where it is parsed."""

Content: TypeAlias = "str | int | bool | Sequence[Content] | Mapping[str, Content] | None"
"""What `content_digest` accepts: JSON's lists and objects, without floating-point numbers, whose text is not
canonical."""

CHUNK_BYTES = 1 << 18
"""Read size for files: large enough that the interpreter's share of hashing is negligible."""

_SHA256 = re.compile(r"(?:sha256[:=])?([0-9a-f]{64})", re.IGNORECASE)


def sha256_hex(content: bytes | bytearray | memoryview) -> Sha256:
    """Return the digest of bytes."""
    return Sha256(hashlib.sha256(content).hexdigest())


def sha256_file(path: Path) -> Sha256:
    """Return the digest of a file's content, read in chunks.

    Raises:
        StorageError: the file cannot be read.
    """
    state = hashlib.sha256()
    with storage_errors(f"read `{path}`"), open_regular(path) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            state.update(chunk)
    return Sha256(state.hexdigest())


def parse_sha256(text: str, *, where: str) -> Sha256:
    """Return the digest that `text` writes, with or without `sha256:` (or `sha256=`, as indexes write it).

    `where` names the place in messages: `packages[3].wheels[0].sha256`.

    Raises:
        IntegrityError: it is not a SHA-256 digest; an unreadable hash vouches for nothing.
    """
    match = _SHA256.fullmatch(text)
    if match is None:
        raise IntegrityError(
            f"`{where}` is not a SHA-256 digest: `{text}`",
            reference="malformed-digest",
            hint="write it as `sha256:` and 64 hexadecimal digits",
        )
    return Sha256(match[1].lower())


def content_digest(content: Content) -> Sha256:
    """Return the digest of structured content, independent of the order of keys and of any file format.

    The content is written as JSON with sorted keys, no white space and ASCII escapes: one text for one
    content, the same on every Python.
    """
    return sha256_hex(canonical_json(content))


def canonical_json(content: Content) -> bytes:
    """Return the one JSON text for this content."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")

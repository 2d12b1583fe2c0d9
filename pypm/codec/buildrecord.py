"""The record of a build: what a wheel was made from, where, and what came out. It is what somebody signs.

A signed record is a text: the record as one line of JSON, then an SSH signature over exactly that line. A
record has one form alone, so that no two readers can find two things in it.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from pypm.digest import Sha256, canonical_json, content_digest

FORMAT = 1
"""Part of every build key: records of another format are about other builds."""

LARGEST_BYTES = 64 << 10
"""Of a signed record; a signature by a certificate has a few thousand."""

HERMETIC = "namespaces, nothing granted"
"""The one way of building that is recorded: no network, no variable, no file but the source's."""

_SIGNATURE = b"-----BEGIN SSH SIGNATURE-----"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGEST_WHEEL_BYTES = 8 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Everything that a build depends on and that two machines can compare."""

    source: str
    """SHA-256 of the sdist, or what stands for a commit."""
    name: str
    version: str | None
    """As locked."""
    requirements: str
    """Digest of the environment that it was built in: interpreter and build requirements."""
    interpreter: str
    """Identity of the interpreter."""
    platform: str
    """The most specific tag: machine, C library and its version."""
    system: str
    """Distribution and version, whose compiler and libraries were used."""
    policy: str = HERMETIC

    @property
    def key(self) -> Sha256:
        """What stands for all of it; the record is asked for by it."""
        return content_digest({"format": FORMAT, **asdict(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltWheel:
    """What came out."""

    filename: str
    sha256: Sha256
    size_bytes: int
    tree: Sha256
    """Merkle root of the unpacked wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """A build, as the machine that made it tells of it."""

    circumstances: Circumstances
    wheel: BuiltWheel


def dump_record(record: BuildRecord) -> bytes:
    """Return the one line that stands for a record."""
    return (
        canonical_json(
            {"format": FORMAT, "build": asdict(record.circumstances), "wheel": asdict(record.wheel)}
        )
        + b"\n"
    )


def load_record(content: bytes) -> BuildRecord:
    """Read a record whose signature was verified.

    Raises: ValueError: it is not one, or not in its one form.
    """
    try:
        plain = json.loads(content)
        build, wheel = plain["build"], plain["wheel"]
        named = {field.name for field in fields(Circumstances)}
        if set(build) != named or not all(
            type(value) is str or (key == "version" and value is None) for key, value in build.items()
        ):
            raise ValueError("the build is not described")
        record = BuildRecord(circumstances=Circumstances(**build), wheel=BuiltWheel(**wheel))
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"it is not a record: {error}") from error
    found = record.wheel
    if type(found.size_bytes) is not int or not 0 < found.size_bytes <= _LARGEST_WHEEL_BYTES:
        raise ValueError("the wheel has no size that a wheel can have")
    if not all(type(text) is str and _SHA256.fullmatch(text) for text in (found.sha256, found.tree)):
        raise ValueError("the wheel has no digest")
    try:
        if type(found.filename) is not str or "/" in found.filename or "\0" in found.filename:
            raise ValueError("the wheel has no file name")
        parse_wheel_filename(found.filename)
    except InvalidWheelFilename as error:
        raise ValueError(str(error)) from error
    if dump_record(record) != content:
        raise ValueError("it is not written in its one form")
    return record


def join_signed(content: bytes, signature: bytes) -> bytes:
    """Return a record and its signature as one text."""
    return content + signature


def split_signed(text: bytes) -> tuple[bytes, bytes] | None:
    """Return a record's line and its signature; None where it is not such a text."""
    content, found, rest = text.partition(_SIGNATURE)
    if not found or not content.endswith(b"\n") or content.count(b"\n") != 1:
        return None
    return content, found + rest

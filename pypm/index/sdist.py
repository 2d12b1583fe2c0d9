"""What a source distribution says of itself without being built: PKG-INFO, else a static `pyproject.toml`.

The archive is read in memory, member by member; nothing of it is written or run.

Source: PEP 517 (layout), PEP 625, PEP 643 (Dynamic), PEP 621.
"""

from __future__ import annotations

import lzma
import re
import tarfile
import zipfile
import zlib
from pathlib import Path

from packaging.version import Version

from pypm.codec.metadata import CoreMetadata, MetadataError, parse_metadata, static_metadata

_MAX_MEMBER_BYTES = 16 << 20
_MAX_MEMBERS = 200_000
_MAX_UNPACKED_BYTES = 4 << 30
"""A compressed tar is read through to find two files; an archive that never ends is a bomb."""

_WANTED = re.compile(r"(?:\./)?[^/]+/(PKG-INFO|pyproject\.toml)")


def read_static_metadata(archive: Path, version: Version) -> CoreMetadata | None:
    """Return the metadata, or None when only a build would tell. `version` is the file name's.

    Raises:
        MetadataError: the archive is not a sound one.
        OSError: it cannot be read.
    """
    try:
        members = _zip_members(archive) if archive.name.endswith(".zip") else _tar_members(archive)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise MetadataError(f"the source distribution is not a sound archive ({error})") from error
    if "PKG-INFO" in members:
        try:
            metadata = parse_metadata(members["PKG-INFO"])
        except MetadataError:
            # Ancient ones are beyond repair while the project behind them still builds.
            metadata = None
        if metadata is not None and metadata.is_static:
            return metadata
    if "pyproject.toml" in members:
        return static_metadata(members["pyproject.toml"], version=version)
    return None


def _tar_members(archive: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    unpacked_bytes = 0
    with tarfile.open(archive, "r|*") as tar:
        for number, member in enumerate(tar):
            unpacked_bytes += max(member.size, 0)
            if number > _MAX_MEMBERS or unpacked_bytes > _MAX_UNPACKED_BYTES:
                raise MetadataError("the source distribution unpacks to more than is reasonable")
            match = _WANTED.fullmatch(member.name)
            if match is None or not member.isreg() or member.size > _MAX_MEMBER_BYTES:
                continue
            stream = tar.extractfile(member)
            if stream is not None:
                found.setdefault(match[1], stream.read(_MAX_MEMBER_BYTES))
            if len(found) == 2:
                break
    return found


def _zip_members(archive: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(archive) as stored:
        for info in stored.infolist():
            match = _WANTED.fullmatch(info.filename)
            if match is not None and info.file_size <= _MAX_MEMBER_BYTES:
                with stored.open(info) as member:
                    found.setdefault(match[1], member.read(_MAX_MEMBER_BYTES))
    return found

"""A zip reader that accepts one reading of an archive only.

Two programs that read one archive differently can be shown different content: one verifies what the other
does not install. So whatever leaves room for a second reading is refused: local headers that differ from
the central directory, overlapping or hidden bytes, names in an unknown encoding, two entries that one file
system could merge. `zipfile` tolerates most of these.

Source: PKWARE APPNOTE 6.3.10; the sections are named at the checks.
"""

# Descriptors and text paths: `pathlib` would double the time of a wheel of small files.

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from .refusal import Refusal

_END = struct.Struct("<4s4H2LH")  # 4.3.16
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_LOCATOR64 = struct.Struct("<4sLQL")  # 4.3.15
_CENTRAL = struct.Struct("<4s6H3L5H2L")  # 4.3.12
_LOCAL = struct.Struct("<4s5H3L2H")  # 4.3.7

_STORED, _DEFLATED = 0, 8
_FLAG_DESCRIPTOR = 1 << 3
_FLAG_UTF8 = 1 << 11
_FLAGS_ALLOWED = _FLAG_DESCRIPTOR | _FLAG_UTF8 | (1 << 1) | (1 << 2)
"""Bits 1 and 2 say how hard deflate tried; every other bit is encryption, patching or unknown."""

_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_CHUNK_BYTES = 1 << 18
_MAX_PATH_BYTES = 1024
_MAX_PARTS = 100
_MAX_NAME_BYTES = 255  # NAME_MAX of every common file system


class Limits(NamedTuple):
    """Bounds against archives that grow when unpacked."""

    entries: int
    total_bytes: int
    ratio: int
    """Unpacked bytes for each byte of the archive; small archives are exempt up to `ratio_exempt_bytes`."""
    ratio_exempt_bytes: int


class Member(NamedTuple):
    """One file of the archive."""

    name: str
    mode: int
    """Unix permission bits, 0 where the archive has none."""
    method: int
    crc: int
    compressed_bytes: int
    size_bytes: int
    data_offset: int


class _Entry(NamedTuple):
    """A central directory entry before its local header has been compared."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    compressed_bytes: int
    size_bytes: int
    offset: int
    mode: int


class Archive:
    """An open archive whose structure has been checked; `members` are its files in order of their bytes."""

    def __init__(self, path: str, limits: Limits) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            self.size_bytes = os.fstat(self._descriptor).st_size
            entries, directory_offset = self._central_directory(limits)
            _check_totals(entries, self.size_bytes, limits)
            self.members = self._compare_local_headers(entries, directory_offset)
            check_collisions(entry.name for entry in entries)
        except BaseException:
            os.close(self._descriptor)
            raise

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, member: Member, limit_bytes: int) -> bytes:
        """Return the whole content of a small file."""
        if member.size_bytes > limit_bytes:
            raise Refusal("oversized-metadata", f"`{member.name}` is larger than {limit_bytes} bytes")
        return b"".join(self.chunks(member))

    def chunks(self, member: Member) -> Iterator[bytes]:
        """Yield the inflated content; its size and CRC have been compared when the iterator ends.

        Safe to call from several threads at once: it reads by offset.
        """
        crc = size_bytes = 0
        inflated = self._stored(member) if member.method == _STORED else self._inflated(member)
        for chunk in inflated:
            size_bytes += len(chunk)
            if size_bytes > member.size_bytes:
                raise Refusal("size-mismatch", f"`{member.name}` is longer than the archive says")
            crc = zlib.crc32(chunk, crc)
            yield chunk
        if size_bytes != member.size_bytes:
            raise Refusal("size-mismatch", f"`{member.name}` is shorter than the archive says")
        if crc != member.crc:
            raise Refusal("crc-mismatch", f"`{member.name}` does not fit its CRC")

    def _stored(self, member: Member) -> Iterator[bytes]:
        offset, end = member.data_offset, member.data_offset + member.compressed_bytes
        while offset < end:
            chunk = self._pread(min(_CHUNK_BYTES, end - offset), offset)
            offset += len(chunk)
            yield chunk

    def _inflated(self, member: Member) -> Iterator[bytes]:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            for packed in self._stored(member):
                # `max_length` bounds memory: one packed chunk could inflate a thousandfold.
                chunk = inflate.decompress(packed, _CHUNK_BYTES * 4)
                while chunk:
                    yield chunk
                    chunk = inflate.decompress(inflate.unconsumed_tail, _CHUNK_BYTES * 4)
                if inflate.eof and inflate.unused_data:
                    raise Refusal("hidden-data", f"`{member.name}` has bytes behind its compressed content")
        except zlib.error as error:
            raise Refusal("broken-compression", f"`{member.name}` cannot be inflated: {error}") from None
        if not inflate.eof or inflate.unused_data:
            raise Refusal("broken-compression", f"`{member.name}` ends within its compressed content")

    def _pread(self, count: int, offset: int) -> bytes:
        content = os.pread(self._descriptor, count, offset)
        if not content:
            raise Refusal("truncated-archive", "the archive ends before its content does")
        while len(content) < count:
            more = os.pread(self._descriptor, count - len(content), offset + len(content))
            if not more:
                raise Refusal("truncated-archive", "the archive ends before its content does")
            content += more
        return content

    def _central_directory(self, limits: Limits) -> tuple[list[_Entry], int]:
        """Find the directory where it must be, at the very end, and parse it."""
        end_offset = self.size_bytes - _END.size
        if end_offset < 0:
            raise Refusal("not-a-zip", "the file is too short to be a zip archive")
        end = _END.unpack(self._pread(_END.size, end_offset))
        signature, disk, directory_disk, here, count, size_bytes, offset, comment_bytes = end
        if signature != b"PK\5\6" or comment_bytes:
            raise Refusal("trailing-data", "the file does not end with a zip directory, or bytes follow it")
        if _FULL16 in (here, count) or _FULL32 in (size_bytes, offset):
            end_offset, here, count, size_bytes, offset = self._directory64(end_offset)
        if disk or directory_disk or here != count:
            raise Refusal("split-archive", "the archive says that it is one of several parts")
        if offset + size_bytes != end_offset:
            raise Refusal("hidden-data", "bytes lie before, behind or within the archive's directory")
        if count > limits.entries or size_bytes > limits.entries * (_CENTRAL.size + _MAX_PATH_BYTES):
            raise Refusal("too-many-entries", f"the archive has more than {limits.entries} entries")
        return _parse_directory(self._pread(size_bytes, offset) if size_bytes else b"", count), offset

    def _directory64(self, end_offset: int) -> tuple[int, int, int, int, int]:
        """Read the zip64 end record, which must stand directly before its locator."""
        record_offset = end_offset - _LOCATOR64.size - _END64.size
        if record_offset < 0:
            raise Refusal("zip64-mismatch", "the archive says zip64 but has no such record")
        content = self._pread(_END64.size + _LOCATOR64.size, record_offset)
        record = _END64.unpack_from(content)
        locator = _LOCATOR64.unpack_from(content, _END64.size)
        if locator != (b"PK\6\7", 0, record_offset, 1):
            raise Refusal("zip64-mismatch", "the zip64 locator does not point to the record before it")
        if record[0] != b"PK\6\6" or record[1] != _END64.size - 12 or record[4] or record[5]:
            raise Refusal("zip64-mismatch", "the zip64 end record is malformed")
        return record_offset, record[6], record[7], record[8], record[9]

    def _compare_local_headers(self, entries: list[_Entry], directory_offset: int) -> list[Member]:
        """Walk the file from its first byte to the directory: every byte belongs to exactly one entry."""
        members = []
        position = 0
        for entry in sorted(entries, key=lambda entry: entry.offset):
            if entry.offset > position:
                raise Refusal("hidden-data", f"bytes before `{entry.name}` belong to no entry")
            if entry.offset < position:
                raise Refusal("overlapping-entries", f"`{entry.name}` lies within another entry")
            data_offset = self._check_local_header(entry)
            position = data_offset + entry.compressed_bytes
            if position > directory_offset:
                raise Refusal("overlapping-entries", f"`{entry.name}` reaches into the archive's directory")
            if entry.flags & _FLAG_DESCRIPTOR:
                position += self._descriptor_bytes(entry, position, directory_offset)
            if not entry.name.endswith("/"):
                members.append(
                    Member(
                        entry.name,
                        stat.S_IMODE(entry.mode),
                        entry.method,
                        entry.crc,
                        entry.compressed_bytes,
                        entry.size_bytes,
                        data_offset,
                    )
                )
        if position != directory_offset:
            raise Refusal("hidden-data", "bytes before the archive's directory belong to no entry")
        return members

    def _check_local_header(self, entry: _Entry) -> int:
        """Compare the local header with the directory's entry and return where the data begin."""
        fixed = _LOCAL.unpack(self._pread(_LOCAL.size, entry.offset))
        signature, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = fixed
        rest = self._pread(name_bytes + extra_bytes, entry.offset + _LOCAL.size)
        different = Refusal("header-mismatch", f"the two headers of `{entry.name}` differ")
        if signature != b"PK\3\4" or rest[:name_bytes] != entry.raw_name:
            raise different
        if (flags, method) != (entry.flags, entry.method):
            raise different
        extra = _extra_fields(rest[name_bytes:], entry.name)
        if 1 in extra:
            size, packed = _widen(extra[1], (size, packed), entry.name)
        sizes = (crc, packed, size)
        told_later = flags & _FLAG_DESCRIPTOR and not any(sizes)
        if not told_later and sizes != (entry.crc, entry.compressed_bytes, entry.size_bytes):
            raise different
        return int(entry.offset + _LOCAL.size + name_bytes + extra_bytes)

    def _descriptor_bytes(self, entry: _Entry, position: int, directory_offset: int) -> int:
        """Return the length of the data descriptor at `position`: 32 or 64 bit, signature or none (4.3.9)."""
        content = (
            self._pread(min(24, directory_offset - position), position)
            if position < directory_offset
            else b""
        )
        for layout in ("<4sLLL", "<4sLQQ", "<LLL", "<LQQ"):
            size = struct.calcsize(layout)
            if len(content) < size:
                continue
            fields = struct.unpack_from(layout, content)
            if fields[-3:] != (entry.crc, entry.compressed_bytes, entry.size_bytes):
                continue
            if len(fields) == 3 or fields[0] == b"PK\7\x08":
                return size
        raise Refusal("header-mismatch", f"the data descriptor of `{entry.name}` differs from the directory")


def _parse_directory(content: bytes, count: int) -> list[_Entry]:
    entries = []
    position = 0
    for _ in range(count):
        if position + _CENTRAL.size > len(content):
            raise Refusal("truncated-archive", "the archive's directory is shorter than it says")
        fields = _CENTRAL.unpack_from(content, position)
        name_end = position + _CENTRAL.size + fields[10]
        extra_end = name_end + fields[11]
        raw_name = content[position + _CENTRAL.size : name_end]
        entries.append(_entry(fields, raw_name, content[name_end:extra_end]))
        position = extra_end + fields[12]
    if position != len(content):
        raise Refusal("hidden-data", "bytes in the archive's directory belong to no entry")
    return entries


def _entry(fields: tuple[object, ...], raw_name: bytes, raw_extra: bytes) -> _Entry:
    signature, _, _, flags, method, _, _, crc, packed, size, _, _, _, disk, _, attributes, offset = fields
    assert isinstance(flags, int) and isinstance(method, int) and isinstance(attributes, int)
    assert (
        isinstance(crc, int) and isinstance(packed, int) and isinstance(size, int) and isinstance(offset, int)
    )
    if signature != b"PK\1\2" or disk:
        raise Refusal("truncated-archive", "the archive's directory is damaged")
    name = _decode_name(raw_name, flags)
    extra = _extra_fields(raw_extra, name)
    if 1 in extra:
        size, packed, offset = _widen(extra[1], (size, packed, offset), name)
    if 0x7075 in extra and extra[0x7075][5:] != raw_name:
        raise Refusal("ambiguous-name", f"`{name}` has a second, different name")
    if flags & ~_FLAGS_ALLOWED:
        raise Refusal("unsupported-flags", f"`{name}` is encrypted or uses an unknown feature of zip")
    if method not in (_STORED, _DEFLATED):
        raise Refusal("unsupported-compression", f"`{name}` is compressed by method {method}")
    if method == _STORED and packed != size:
        raise Refusal("header-mismatch", f"`{name}` is stored, but its two sizes differ")
    mode = attributes >> 16
    _check_kind(name, mode, size)
    return _Entry(name, raw_name, flags, method, crc, packed, size, offset, mode)


def _widen(content: bytes, values: tuple[int, ...], name: str) -> tuple[int, ...]:
    """Replace each 32-bit value that is all ones by the next 64-bit one of the zip64 field (4.5.3)."""
    wanted = sum(value == _FULL32 for value in values)
    if len(content) != 8 * wanted:
        # Writers that stream add the field for the sizes before they know whether they need it.
        if wanted == 0 and len(content) in (8, 16):
            redundant = struct.unpack(f"<{len(content) // 8}Q", content)
            if redundant == values[: len(redundant)]:
                return values
        raise Refusal("zip64-mismatch", f"the zip64 field of `{name}` does not fit its header")
    wide = iter(struct.unpack(f"<{wanted}Q", content))
    return tuple(next(wide) if value == _FULL32 else value for value in values)


def _extra_fields(content: bytes, name: str) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    position = 0
    while position < len(content):
        if position + 4 > len(content):
            raise Refusal("header-mismatch", f"the extra field of `{name}` is malformed")
        kind, size = struct.unpack_from("<HH", content, position)
        position += 4 + size
        if position > len(content) or kind in fields:
            raise Refusal("header-mismatch", f"the extra field of `{name}` is malformed")
        fields[kind] = content[position - size : position]
    return fields


def _check_kind(name: str, mode: int, size_bytes: int) -> None:
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        raise Refusal("link", f"`{name}` is a symbolic link")
    if name.endswith("/"):
        if kind not in (0, stat.S_IFDIR) or size_bytes:
            raise Refusal("special-file", f"`{name}` is named as a folder and is none")
    elif kind not in (0, stat.S_IFREG):
        raise Refusal("special-file", f"`{name}` is a device, pipe, socket or folder")
    if mode & 0o6000:
        raise Refusal("setuid", f"`{name}` asks for the setuid or setgid bit")


def _decode_name(raw: bytes, flags: int) -> str:
    try:
        name = raw.decode("utf-8" if flags & _FLAG_UTF8 else "ascii")
    except UnicodeDecodeError:
        shown = raw.decode("utf-8", "backslashreplace")
        raise Refusal("ambiguous-name", f"the name `{shown}` is not marked as UTF-8") from None
    check_path(name[:-1] if name.endswith("/") else name)
    return name


def check_path(path: str) -> None:
    """Refuse a name that is not a plain relative path everywhere."""
    shown = path.encode("unicode_escape").decode("ascii")
    parts = path.split("/")
    if "\\" in path or any(ord(character) < 32 or ord(character) == 127 for character in path):
        raise Refusal("unsafe-path", f"the name `{shown}` has a backslash or a control character")
    if path.startswith("/") or path[1:2] == ":":
        raise Refusal("unsafe-path", f"the name `{shown}` is absolute")
    if not path or any(part in ("", ".", "..") for part in parts):
        raise Refusal("unsafe-path", f"the name `{shown}` leaves the archive or is not canonical")
    if len(parts) > _MAX_PARTS:
        raise Refusal("unsafe-path", f"the name `{shown[:80]}...` has too many parts")
    encoded = path.encode("utf-8")
    if len(encoded) > _MAX_PATH_BYTES or any(len(part.encode("utf-8")) > _MAX_NAME_BYTES for part in parts):
        raise Refusal("unsafe-path", f"the name `{shown[:80]}...` is too long")


def check_collisions(paths: Iterator[str]) -> None:
    """Refuse paths that are one file, or a file and a folder, on some file system."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        key = _fold(path)
        parent = key.rpartition("/")[0]
        if not path.endswith("/"):
            if key in files:
                kind = "duplicate-entry" if files[key] == path else "colliding-entries"
                raise Refusal(kind, f"`{path}` and `{files[key]}` are one file on some file systems")
            files[key] = path
        while parent and parent not in folders:
            folders[parent] = path
            parent = parent.rpartition("/")[0]
    for key in files.keys() & folders.keys():
        raise Refusal("colliding-entries", f"`{files[key]}` is a file and the folder of `{folders[key]}`")


def _fold(path: str) -> str:
    """One key for all spellings that a case- or normalisation-insensitive file system takes for one."""
    if path.isascii():
        return path.lower()
    import unicodedata

    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def _check_totals(entries: list[_Entry], archive_bytes: int, limits: Limits) -> None:
    total_bytes = sum(entry.size_bytes for entry in entries)
    if total_bytes > limits.total_bytes:
        raise Refusal("zip-bomb", f"the archive unpacks to more than {limits.total_bytes} bytes")
    if total_bytes > max(limits.ratio_exempt_bytes, archive_bytes * limits.ratio):
        raise Refusal("zip-bomb", f"the archive unpacks to more than {limits.ratio} times its size")

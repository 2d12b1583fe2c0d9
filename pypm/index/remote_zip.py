"""Members of a wheel on a server, read by Range without fetching the wheel.

The end of an archive tells where its members lie, and most tools write `.dist-info` last, so that one request
for the tail usually answers everything.

Source: RFC 9110, section 14; PEP 427; APPNOTE.TXT, section 4.3.
"""

from __future__ import annotations

import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from pypm.codec.filenames import filename_of_url
from pypm.codec.metadata import MetadataError
from pypm.codec.simple import redact
from pypm.errors import IndexAccessError
from pypm.index.client import Answer, Client

TAIL_BYTES = 64 << 10
"""The first request: covers directory and `.dist-info` of all but the largest wheels."""

_LARGEST_TAIL_BYTES = 1 << 20

_READ_AHEAD_BYTES = 16 << 10
_MAX_MEMBER_BYTES = 64 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
_DIST_INFO_MEMBER = re.compile(r"[^/]+\.dist-info/[^/]+")


_END = struct.Struct("<4s4H2IH")
_END_SIGNATURE = b"PK\x05\x06"
_ENTRY_BYTES = 46
_ENTRY_LENGTHS = struct.Struct("<3H")
_ENTRY_SIGNATURE = b"PK\x01\x02"
_DIST_INFO = b".dist-info/"


class RangeIgnored(Exception):  # noqa: N818 - an answer, not an error: the caller goes another way
    """The server does not serve ranges, and the file is too large to come whole."""


class RemoteFile(io.RawIOBase):
    """A file on a server that reads like one on disk: seekable, fetched in pieces."""

    def __init__(self, client: Client, url: str, tail_bytes: int = TAIL_BYTES) -> None:
        """Fetch the tail.

        Raises:
            RangeIgnored: see there.
            FileNotFoundError: the server has no such file.
            IndexAccessError: the server could not be asked.
        """
        self._client = client
        self._url = url
        self._position = 0
        self._etag: str | None = None
        self._pieces: list[tuple[int, bytes]] = []
        self.read_from: int | None = None
        """The first byte that was read."""
        try:
            answer = client.range(url, -tail_bytes)
        except IndexAccessError as error:
            if error.reference == "index-answer-too-large":
                raise RangeIgnored from error
            raise
        if answer.status in (404, 410):
            raise FileNotFoundError(url)
        if answer.status == 416:
            # Some servers refuse a tail that is longer than the file.
            answer = client.range(url, 0)
        if answer.status in (200, 416):
            # Also 416 to a range from the first byte: the file is empty.
            self.size_bytes = len(answer.content)
            self._pieces.append((0, answer.content))
            return
        start, self.size_bytes = self._span(answer)
        self._etag = answer.headers.get("etag")
        self._pieces.append((start, answer.content))

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; see `io.IOBase.seek`."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size_bytes}[whence]
        if start + offset < 0:
            raise OSError("negative seek position")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes, fetched unless they are here already."""
        end = self.size_bytes if size is None or size < 0 else min(self._position + size, self.size_bytes)
        start = self._position
        if start >= end:
            return b""
        self.read_from = start if self.read_from is None else min(start, self.read_from)
        for at, piece in self._pieces:
            if at <= start and end <= at + len(piece):
                break
        else:
            at, piece = start, self._fetch(start, min(max(end, start + _READ_AHEAD_BYTES), self.size_bytes))
            self._pieces.append((at, piece))
        self._position = end
        return piece[start - at : end - at]

    def _fetch(self, start: int, end: int) -> bytes:
        answer = self._client.range(self._url, start, end, limit_bytes=max(_MAX_MEMBER_BYTES, end - start))
        got_start, size_bytes = self._span(answer) if answer.status == 206 else (-1, -1)
        if (got_start, size_bytes) != (start, self.size_bytes) or len(answer.content) != end - start:
            raise self._changed()
        if answer.headers.get("etag") != self._etag:
            raise self._changed()
        return answer.content

    def _span(self, answer: Answer) -> tuple[int, int]:
        """Return where an answer begins, and the size of the whole file."""
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        if match is None or int(match[2]) - int(match[1]) + 1 != len(answer.content):
            raise self._changed()
        return int(match[1]), int(match[3])

    def _changed(self) -> IndexAccessError:
        return IndexAccessError(
            f"the parts of `{redact(self._url)}` do not fit together",
            reference="index-bad-range",
            hint="the file may have changed meanwhile; try again",
        )


class Tails:
    """How much of the end of a project's wheels was needed before: the next one needs about as much.

    One request then brings what took three. Safe to share between threads: a lost note costs a request.
    """

    def __init__(self) -> None:
        self._bytes: dict[str, int] = {}

    def expected(self, project: str) -> int:
        """Return how many bytes to begin with."""
        return self._bytes.get(project, TAIL_BYTES)

    def note(self, project: str, needed_bytes: int) -> None:
        """Remember what one wheel needed; far more than usual is not worth guessing."""
        if TAIL_BYTES < needed_bytes <= _LARGEST_TAIL_BYTES:
            self._bytes[project] = needed_bytes * 9 // 8


def read_remote_dist_info(
    client: Client, url: str, names: Iterable[str], tails: Tails | None = None
) -> dict[str, bytes]:
    """Return members of a remote wheel's `.dist-info` by name (`METADATA`, `RECORD`).

    Raises:
        RangeIgnored: the server does not serve ranges, and the wheel is large.
        FileNotFoundError: the server has no such file.
        MetadataError: it is not a wheel, or has not exactly one `.dist-info` with these members.
        IndexAccessError: the server could not be asked.
    """
    project = filename_of_url(url).partition("-")[0]
    stream = RemoteFile(client, url, TAIL_BYTES if tails is None else tails.expected(project))
    found = _read_dist_info(stream, names)
    if tails is not None and stream.read_from is not None:
        tails.note(project, stream.size_bytes - stream.read_from)
    return found


def read_dist_info(path: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return members of a wheel on disk, as `read_remote_dist_info` does.

    Raises:
        MetadataError: it is not a wheel, or has not exactly one `.dist-info` with these members.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return _read_dist_info(stream, names)


class _Thinned(io.RawIOBase):
    """An archive as if it had the entries of a `.dist-info` only, for whoever reads nothing else.

    `zipfile` makes an object of every entry, and a large wheel has thousands.
    """

    def __init__(self, stream: IO[bytes] | RemoteFile, start: int, directory: bytes, count: int) -> None:
        """`directory` takes the place of the entries from `start` on."""
        super().__init__()
        self._stream = stream
        self._start = start
        end = _END.pack(_END_SIGNATURE, 0, 0, count, count, len(directory), start, 0)
        self._end = directory + end
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; see `io.IOBase.seek`."""
        size_bytes = self._start + len(self._end)
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: size_bytes}[whence]
        if start + offset < 0:
            raise OSError("negative seek position")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes."""
        whole = self._start + len(self._end)
        end = whole if size is None or size < 0 else min(self._position + size, whole)
        start, content = self._position, b""
        if start < min(end, self._start):
            self._stream.seek(start)
            content = self._stream.read(min(end, self._start) - start) or b""
        if end > self._start:
            content += self._end[max(start - self._start, 0) : end - self._start]
        self._position = start + len(content)
        return content


def _thinned(stream: IO[bytes] | RemoteFile) -> IO[bytes] | RemoteFile | _Thinned:
    """Return the archive without the entries that nobody asks for; itself where it is of an unusual form.

    Source: APPNOTE.TXT of the zip format, 4.3.12 and 4.3.16.
    """
    size_bytes = stream.seek(0, io.SEEK_END)
    if size_bytes < _END.size:
        return stream
    stream.seek(size_bytes - _END.size)
    end = stream.read(_END.size) or b""
    signature, disk, first_disk, here, count, length, start, comment = _END.unpack(end)
    is_plain = (signature, disk, first_disk, comment) == (_END_SIGNATURE, 0, 0, 0)
    if not is_plain or here != count or count == 0xFFFF or start + length + _END.size != size_bytes:
        return stream
    stream.seek(start)
    directory = stream.read(length) or b""
    # The entries in question stand together at the end: the search for the first skips thousands of others.
    at = directory.rfind(_ENTRY_SIGNATURE, 0, max(directory.find(_DIST_INFO), 0))
    if at < 0:
        return stream
    kept: list[bytes] = []
    while at < length:
        if directory[at : at + 4] != _ENTRY_SIGNATURE or at + _ENTRY_BYTES > length:
            return stream
        name_bytes, extra_bytes, comment_bytes = _ENTRY_LENGTHS.unpack_from(directory, at + 28)
        after = at + _ENTRY_BYTES + name_bytes + extra_bytes + comment_bytes
        if _DIST_INFO in directory[at + _ENTRY_BYTES : at + _ENTRY_BYTES + name_bytes]:
            kept.append(directory[at:after])
        at = after
    if at != length or not kept:
        return stream
    return _Thinned(stream, start, b"".join(kept), len(kept))


def _read_dist_info(stream: IO[bytes] | RemoteFile, names: Iterable[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(_thinned(stream)) as archive:
            members = [info for info in archive.infolist() if _DIST_INFO_MEMBER.fullmatch(info.filename)]
            folders = {info.filename.partition("/")[0] for info in members}
            if len(folders) != 1:
                raise MetadataError(f"the wheel has {len(folders)} `.dist-info` folders instead of one")
            for name in names:
                matches = [info for info in members if info.filename.partition("/")[2] == name]
                if len(matches) != 1:
                    raise MetadataError(f"the wheel has {len(matches)} `{name}` files instead of one")
                found[name] = _read_member(archive, matches[0])
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        if isinstance(error, MetadataError):
            raise
        raise MetadataError(f"the wheel is not a sound archive ({error})") from error
    return found


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as member:
        content = member.read(_MAX_MEMBER_BYTES + 1)
    if len(content) > _MAX_MEMBER_BYTES:
        raise MetadataError(f"`{info.filename}` is larger than {_MAX_MEMBER_BYTES >> 20} MiB")
    return content

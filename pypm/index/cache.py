"""What indexes said, kept on disk: pages for ten minutes, metadata of a file for ever.

Everything here can be had again, so nothing here may stop a command: a record that is torn, foreign or of an
older format is a miss, and a folder that cannot be written costs one warning and the next run's speed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct

from pypm.codec.simple import PageFile, SimplePage, files_at, parse_page
from pypm.errors import IndexAccessError
from pypm.index.auth import origin
from pypm.regular import LARGEST_BYTES, read_regular

FRESH_SECONDS = 600
"""How long a page is believed without asking again: the default index sends no ETag or Cache-Control."""

ABSENT_SECONDS = 60
"""How long an index is believed to lack a project: somebody may be about to publish it."""

_MAGIC = b"pypm2"
"""Begins every record; another number stands for another layout of the structures below."""


_LARGEST_RECORD_BYTES = 2 * LARGEST_BYTES
"""A page may be as large as any file that is read, and is kept with what surrounds it."""


class PackedPage:
    """A page as it came, compressed as soon as there is time: entries take six times the room.

    Whoever looks at it keeps what they need of it, and nothing more.
    """

    __slots__ = ("_content", "_first", "_is_packed", "_places", "content_type", "name", "url")

    def __init__(
        self, content: bytes, content_type: str, url: str, *, first: SimplePage, is_packed: bool = False
    ) -> None:
        """`first` is the page opened, for the first who looks at it."""
        self._content = content
        self._is_packed = is_packed
        self._places = first.places
        self._first: SimplePage | None = first
        self.name = first.name
        self.content_type = content_type
        self.url = url

    def open(self) -> SimplePage:
        """Return the page's entries.

        Raises:
            IndexAccessError: it is none, after all.
        """
        first, self._first = self._first, None
        if first is not None:
            return first
        return parse_page(self._plain(), self.content_type, url=self.url)

    def files_at(self, places: Sequence[int]) -> list[PageFile]:
        """Return some of the page's entries: the rest of a page with thousands need not be made for them.

        Raises:
            IndexAccessError: it is none, after all.
        """
        if self._places is not None:
            return files_at(self._plain(), [self._places[place] for place in places])
        entries = self.open().entries
        return [entries[place] for place in places]

    def _plain(self) -> bytes:
        content, is_packed = self._content, self._is_packed
        return _unpacked(content) if is_packed else content

    def pack(self) -> bytes:
        """Compress the page, and return it as it is written to disk."""
        if not self._is_packed:
            packed = zlib.compress(self._content, 1)
            # In this order: who reads in between sees the packed bytes as such or the plain ones as such.
            self._content, self._is_packed = packed, True
        return self._content


class CachedPage(Struct, frozen=True, kw_only=True):
    """A page, with what is needed to ask whether it changed."""

    fetched_at: float
    """Seconds since the epoch, by this machine's clock."""
    body_sha256: str
    """The same body need not be parsed again."""
    final_url: str
    page: PackedPage | None
    """None remembers that the index has no such project."""
    etag: str | None = None
    last_modified: str | None = None


class _PageRecord(msgspec.Struct, frozen=True, array_like=True):
    """A `CachedPage` on disk."""

    fetched_at: float
    body_sha256: str
    final_url: str
    content_type: str
    packed: bytes | None
    etag: str | None
    last_modified: str | None


_PAGES = msgspec.msgpack.Decoder(_PageRecord)


class Remembered:
    """Answers that one command keeps for itself; in memory, where they cost nothing to forget."""

    __slots__ = ("pages", "records")

    def __init__(self) -> None:
        self.pages: dict[str, CachedPage] = {}
        """By key: see `_key`."""
        self.records: dict[tuple[str, str], bytes] = {}
        """By kind and key."""


class IndexCache:
    """The folder `index-v1` of the cache, or what a command remembers instead; None remembers nothing."""

    def __init__(
        self,
        place: Path | Remembered | None,
        *,
        refresh: bool = False,
        warn: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = place if isinstance(place, Path) else None
        self._remembered = place if isinstance(place, Remembered) else None
        self._refresh = refresh
        self._warn = warn
        self._clock = clock
        self._lock = threading.Lock()
        self._writable = True
        self._writer: ThreadPoolExecutor | None = None
        unwritten = self._remembered or Remembered()
        self._unwritten, self._unwritten_pages = unwritten.records, unwritten.pages

    @contextlib.contextmanager
    def behind(self) -> Iterator[None]:
        """Write on a thread of its own while the block lasts, so that no answer waits for the disk."""
        with ThreadPoolExecutor(1, thread_name_prefix="index-cache") as writer:
            self._writer = writer
            try:
                yield
            finally:
                with self._lock:
                    self._writer = None

    def now(self) -> float:
        """Return the clock's time, in seconds since the epoch."""
        return self._clock()

    def is_fresh(self, cached: CachedPage) -> bool:
        """Tell whether a page may be used without asking. One from the future (a clock set back) may not."""
        limit_seconds = ABSENT_SECONDS if cached.page is None else FRESH_SECONDS
        return not self._refresh and 0 <= self._clock() - cached.fetched_at < limit_seconds

    def page(self, url: str) -> CachedPage | None:
        """Return what is remembered of a page, fresh or not."""
        key = _key(url)
        unwritten = self._unwritten_pages.get(key)
        if unwritten is not None:
            return unwritten
        content = self._read("pages", key)
        if content is None:
            return None
        try:
            record = _PAGES.decode(content)
            page = None
            if record.packed is not None:
                first = parse_page(_unpacked(record.packed), record.content_type, url=record.final_url)
                page = PackedPage(
                    record.packed, record.content_type, record.final_url, first=first, is_packed=True
                )
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, zlib.error, IndexAccessError):
            return None
        return CachedPage(
            fetched_at=record.fetched_at,
            body_sha256=record.body_sha256,
            final_url=record.final_url,
            page=page,
            etag=record.etag,
            last_modified=record.last_modified,
        )

    def store_page(self, url: str, cached: CachedPage) -> None:
        """Remember a page."""
        key = _key(url)
        with self._lock:
            is_written = self._writer is not None and self._folder is not None and self._writable
            if is_written or self._remembered is not None:
                self._unwritten_pages[key] = cached
            if self._writer is not None:
                self._writer.submit(self._store_page_now, key, cached)
                return
        self._store_page_now(key, cached)

    def _store_page_now(self, key: str, cached: CachedPage) -> None:
        page = cached.page
        packed = None if page is None else page.pack()
        if self._folder is not None and self._writable:
            record = _PageRecord(
                cached.fetched_at,
                cached.body_sha256,
                cached.final_url,
                "" if page is None else page.content_type,
                packed,
                cached.etag,
                cached.last_modified,
            )
            self._write_now("pages", key, msgspec.msgpack.encode(record))
        with self._lock:
            if self._remembered is None and self._unwritten_pages.get(key) is cached:
                del self._unwritten_pages[key]

    def metadata(self, sha256_hex: str, url: str) -> bytes | None:
        """Return the metadata of the file with this hash, as this host gave it."""
        return self._read("metadata", _file_key(sha256_hex, url))

    def store_metadata(self, sha256_hex: str, url: str, content: bytes) -> None:
        """Remember a file's metadata: for its hash, from its host. One index cannot speak for another."""
        self._write("metadata", _file_key(sha256_hex, url), content)

    def note(self, subject: str) -> str | None:
        """Return a short text remembered under a subject: an index's file base, a URL's hash."""
        content = self._read("notes", _key(subject))
        return None if content is None else content.decode("utf-8", "replace")

    def store_note(self, subject: str, text: str) -> None:
        """Remember a short text."""
        self._write("notes", _key(subject), text.encode())

    def _read(self, kind: str, key: str) -> bytes | None:
        unwritten = self._unwritten.get((kind, key))
        if unwritten is not None:
            return unwritten
        if self._folder is None:
            return None
        try:
            content = read_regular(self._place(kind, key), largest_bytes=_LARGEST_RECORD_BYTES)
        except OSError:
            return None
        checksum, body = content[5:9], content[9:]
        if content[:5] != _MAGIC or checksum != zlib.crc32(body).to_bytes(4, "little"):
            return None
        return body

    def _write(self, kind: str, key: str, body: bytes) -> None:
        if self._remembered is not None:
            self._unwritten[kind, key] = body
        if self._folder is None or not self._writable:
            return
        with self._lock:
            if self._writer is not None:
                self._unwritten[kind, key] = body
                self._writer.submit(self._write_now, kind, key, body)
                return
        self._write_now(kind, key, body)

    def _write_now(self, kind: str, key: str, body: bytes) -> None:
        """Write beside and rename. Not flushed: the checksum tells a record that a power cut tore."""
        place = self._place(kind, key)
        beside = place.with_name(f".{key}.{secrets.token_hex(4)}.tmp")
        record = _MAGIC + zlib.crc32(body).to_bytes(4, "little") + body
        try:
            try:
                beside.write_bytes(record)
            except FileNotFoundError:
                place.parent.mkdir(parents=True, exist_ok=True)
                beside.write_bytes(record)
            beside.replace(place)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            self._give_up(error)
        with self._lock:
            if self._unwritten.get((kind, key)) is body:
                del self._unwritten[kind, key]

    def _give_up(self, error: OSError) -> None:
        with self._lock:
            first, self._writable = self._writable, False
        if first and self._warn is not None:
            reason = os.strerror(error.errno) if error.errno else str(error)
            self._warn(f"the cache of index answers cannot be written ({reason}); working without it")

    def _place(self, kind: str, key: str) -> Path:
        assert self._folder is not None
        return self._folder / kind / key[:2] / key


def _unpacked(content: bytes) -> bytes:
    """Undo zlib, or the gzip of an answer that is kept as it was sent."""
    return zlib.decompress(content, zlib.MAX_WBITS | 32)


def _key(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _file_key(sha256_hex: str, url: str) -> str:
    return f"{sha256_hex}-{_key(origin(url))[:16]}"

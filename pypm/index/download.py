"""Archives from an index into the cache: verified while they stream, resumed where they broke off.

A file in `wheels/` has the right hash or does not exist. Until then it is a `.part`, with a note beside it of
what the server called it. A resumed file that turns out wrong is fetched once more from the beginning: the
server may have changed it between the two halves.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Protocol

from msgspec import Struct, field

from pypm.codec.simple import redact
from pypm.digest import CHUNK_BYTES, sha256_file
from pypm.errors import IndexAccessError, IntegrityError
from pypm.files import locked, storage_errors
from pypm.index.client import Client, Stream
from pypm.index.local_file import copy_archive
from pypm.index.pages import local_path
from pypm.model.artifact import LockedArtifact, Sha256
from pypm.regular import read_regular_text

PARALLEL = 8
"""Downloads at once: more only divide the same line."""

_MAX_ARCHIVE_BYTES = 32 << 30
_TRIES_WITHOUT_PROGRESS = 4
_PROGRESS_BYTES = 64 << 10
"""A connection that brought this much counts as progress; a server that drips does not get for ever."""

_SLOWEST_BYTES_PER_SECOND = 512
_PATIENCE_SECONDS = 60.0
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", re.ASCII)


class Progress(Protocol):
    """Who watches downloads. Called from several threads."""

    def started(self, filename: str, total_bytes: int | None, offset_bytes: int) -> None:
        """A transfer begins, or begins again, with this much there already."""

    def advanced(self, filename: str, count_bytes: int) -> None:
        """This many more bytes arrived."""

    def finished(self, filename: str) -> None:
        """The file is complete, verified and in its place."""

    def waits(self, filename: str, holder: str) -> None:
        """Another process has been fetching this file for a moment; it is waited for."""


class SilentProgress:
    """Nobody watches."""

    def started(self, filename: str, total_bytes: int | None, offset_bytes: int) -> None:
        """Nothing to show."""

    def advanced(self, filename: str, count_bytes: int) -> None:
        """Nothing to show."""

    def finished(self, filename: str) -> None:
        """Nothing to show."""

    def waits(self, filename: str, holder: str) -> None:
        """Nothing to show."""


class Job(Struct, frozen=True, kw_only=True):
    """One archive to have."""

    artifact: LockedArtifact
    urls: Iterable[str]
    """Where it may lie, the likeliest first. May be a generator: later places are worked out when needed."""
    destination: Path


def archive_path(wheels: Path, artifact: LockedArtifact) -> Path:
    """Return where an archive lies below the cache's `wheels` folder.

    Raises:
        IntegrityError: the lock holds a placeholder instead of the hash.
    """
    sha256 = _required_hash(artifact)
    return wheels / sha256[:2] / sha256 / artifact.filename


def download(
    client: Client,
    urls: Iterable[str],
    artifact: LockedArtifact,
    destination: Path,
    *,
    progress: Progress | None = None,
) -> Path:
    """Put the archive at `destination` unless it lies there already, and return `destination`.

    Two processes that want the same archive fetch it once: the second waits and finds it.

    Raises:
        IntegrityError: hash or size differ from the lock's.
        IndexAccessError: no address has the file, or the transfer broke off again and again.
        StorageError: the disk refused.
    """
    job = Job(artifact=artifact, urls=urls, destination=destination)
    return _fetch(client, job, progress or SilentProgress(), threading.Event())


def download_all(
    client: Client, jobs: Sequence[Job], *, parallel: int = PARALLEL, progress: Progress | None = None
) -> tuple[Path, ...]:
    """Put every archive in its place, several at once, the largest first; return their paths in order.

    The first failure stops the others where they are; their `.part` files serve the next run.

    Raises:
        IntegrityError, IndexAccessError, StorageError: see `download`.
    """
    stop = threading.Event()
    watcher = progress or SilentProgress()
    largest_first = sorted(range(len(jobs)), key=lambda number: -(jobs[number].artifact.size_bytes or 0))
    with ThreadPoolExecutor(max(1, min(parallel, len(jobs))), thread_name_prefix="download") as pool:
        futures = {
            number: pool.submit(_fetch, client, jobs[number], watcher, stop) for number in largest_first
        }
        try:
            done, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return tuple(futures[number].result() for number in range(len(jobs)))


class _Stopped(Exception):  # noqa: N818 - another download failed; that one's error is told
    pass


class _Restart(Exception):  # noqa: N818 - the bytes so far belong to another file
    pass


def _fetch(client: Client, job: Job, progress: Progress, stop: threading.Event) -> Path:
    destination = job.destination
    expected = _required_hash(job.artifact)
    with storage_errors(f"create `{destination.parent}`"):
        destination.parent.mkdir(parents=True, exist_ok=True)
    lock = destination.with_name(f"{destination.name}.lock")
    with locked(lock, on_wait=lambda holder: progress.waits(job.artifact.filename, holder)):
        if destination.exists():
            if sha256_file(destination) == expected:
                return destination
            with storage_errors(f"remove `{destination}`"):
                destination.unlink()
        _from_any(client, job, progress, stop)
        progress.finished(job.artifact.filename)
    return destination


def _from_any(client: Client, job: Job, progress: Progress, stop: threading.Event) -> None:
    failure: IndexAccessError | None = None
    for url in job.urls:
        try:
            if url.startswith("file:"):
                copy_archive(local_path(url), job.artifact, job.destination)
                return
            _Transfer(client=client, job=job, url=url, progress=progress, stop=stop).run()
            return
        except IndexAccessError as error:
            # The first address is the likeliest; what went wrong there says most.
            failure = failure or error
    if failure is not None:
        raise failure
    raise IndexAccessError(
        f"no index offers `{job.artifact.filename}` any more",
        reference="artifact-not-found",
        hint="configure an index that has it, or run `pypm lock --upgrade`",
    )


class _Transfer(Struct, kw_only=True):
    """One archive from one address. Mutable: it counts what it has."""

    client: Client
    job: Job
    url: str
    progress: Progress
    stop: threading.Event
    have_bytes: int = 0
    state: hashlib._Hash = field(default_factory=hashlib.sha256)
    was_resumed: bool = False

    @property
    def part(self) -> Path:
        return self.job.destination.with_name(f"{self.job.destination.name}.part")

    @property
    def note(self) -> Path:
        return self.job.destination.with_name(f"{self.job.destination.name}.part.json")

    def run(self) -> None:
        """Fetch until the file is complete and right, or there is no more hope."""
        with storage_errors(f"write `{self.part}`"), self._open() as stream:
            self._take_over(stream)
            # A run that was killed between the last byte and the rename left everything.
            while self.state.hexdigest() != self.job.artifact.sha256:
                self._fetch_rest(stream)
                if self._is_right():
                    break
                # Two halves of different files: once more, from the beginning, and then the verdict holds.
                self._restart(stream)
            self._put_in_place()

    def _open(self) -> io.FileIO:
        self.part.touch()
        return self.part.open("r+b", buffering=0)

    def _take_over(self, stream: io.FileIO) -> None:
        """Hash what an earlier run left, so that only the rest has to come."""
        while chunk := stream.read(CHUNK_BYTES):
            self.state.update(chunk)
            self.have_bytes += len(chunk)
        size_bytes = self.job.artifact.size_bytes
        if size_bytes is not None and self.have_bytes > size_bytes:
            self._restart(stream)
        self.was_resumed = self.have_bytes > 0

    def _restart(self, stream: io.FileIO) -> None:
        stream.seek(0)
        stream.truncate()
        self.state = hashlib.sha256()
        self.have_bytes = 0
        self.was_resumed = False
        self.note.unlink(missing_ok=True)

    def _fetch_rest(self, stream: io.FileIO) -> None:
        """Open the address again and again from where it broke off, as long as that gets on."""
        tries = 0
        while self.have_bytes != self.job.artifact.size_bytes:
            before = self.have_bytes
            try:
                size_bytes, tag = self.job.artifact.size_bytes, self._remembered_tag()
                with self.client.stream(
                    self.url, offset=before, if_range=tag, size_bytes=size_bytes
                ) as answer:
                    if self._receive(answer, stream):
                        return
                failure = self._broke_off()
            except _Restart:
                self._restart(stream)
                failure = self._broke_off()
            except IndexAccessError as error:
                if error.reference not in ("index-interrupted", "index-timeout"):
                    raise
                failure = error
            tries = 0 if self.have_bytes - before >= _PROGRESS_BYTES else tries + 1
            if tries >= _TRIES_WITHOUT_PROGRESS:
                raise failure
            self.stop.wait(self.client.settings.backoff_seconds * tries)
            if self.stop.is_set():
                raise _Stopped

    def _receive(self, answer: Stream, stream: io.FileIO) -> bool:
        """Write the answer's bytes; return whether it came to its end."""
        total_bytes = self._check_beginning(answer, stream)
        self._remember(answer)
        self.progress.started(self.job.artifact.filename, total_bytes, self.have_bytes)
        most_bytes = self.job.artifact.size_bytes or total_bytes or _MAX_ARCHIVE_BYTES
        for chunk in self._paced(answer.chunks()):
            if self.have_bytes + len(chunk) > most_bytes:
                self._discard()
                raise IntegrityError(
                    f"`{self.job.artifact.filename}` is larger than the {most_bytes} bytes that were locked",
                    reference="size-mismatch",
                    hint="the file on the index changed; do not use it before you know why",
                )
            _write_all(stream, chunk)
            self.state.update(chunk)
            self.have_bytes += len(chunk)
            self.progress.advanced(self.job.artifact.filename, len(chunk))
        return self.have_bytes == (self.job.artifact.size_bytes or total_bytes or self.have_bytes)

    def _check_beginning(self, answer: Stream, stream: io.FileIO) -> int | None:
        """Return the size of the whole file, if the server tells; start over where it must be."""
        if answer.status in (404, 410):
            raise IndexAccessError(
                f"`{redact(self.url)}` does not exist",
                reference="artifact-not-found",
                hint="run `pypm lock --refresh`, if the index moved its files",
            )
        if answer.status == 416:
            raise _Restart
        if answer.status == 206:
            match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
            if match is None or int(match[1]) != self.have_bytes:
                raise _Restart
            total_bytes = None if match[2] == "*" else int(match[2])
            locked_bytes = self.job.artifact.size_bytes
            if total_bytes is not None and locked_bytes is not None and total_bytes != locked_bytes:
                raise self._wrong_size(total_bytes)
            self.was_resumed = True
            return total_bytes
        # The whole file: the server ignored the range, or says by `If-Range` that the file is another one.
        if self.have_bytes:
            self._restart(stream)
        length = answer.headers.get("content-length", "")
        return int(length) if length.isascii() and length.isdigit() and len(length) < 19 else None

    def _paced(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass chunks on, but no longer than another download's failure or the patience allow."""
        window_start, window_bytes = time.monotonic(), 0
        for chunk in chunks:
            if self.stop.is_set():
                raise _Stopped
            yield chunk
            window_bytes += len(chunk)
            elapsed_seconds = time.monotonic() - window_start
            if elapsed_seconds >= _PATIENCE_SECONDS:
                if window_bytes < _SLOWEST_BYTES_PER_SECOND * elapsed_seconds:
                    raise IndexAccessError(
                        f"`{redact(self.url)}` sends too slowly to ever end",
                        reference="index-too-slow",
                        hint="try again later, or use a mirror; what came so far is kept",
                    )
                window_start, window_bytes = time.monotonic(), 0

    def _is_right(self) -> bool:
        """Return whether the hash fits; False only where another try from the beginning may mend it."""
        if self.state.hexdigest() == self.job.artifact.sha256:
            return True
        if self.was_resumed:
            return False
        self._discard()
        raise IntegrityError(
            f"`{self.job.artifact.filename}` is not the file that was locked",
            reference="hash-mismatch",
            hint="the file on the index changed; do not use it before you know why",
            details=(
                f"expected sha256:{self.job.artifact.sha256}",
                f"got      sha256:{self.state.hexdigest()}",
                f"from     {redact(self.url)}",
            ),
        )

    def _put_in_place(self) -> None:
        """Rename the file in, without waiting for the disk: who finds an archive hashes it before its use,
        so one that a power cut has left half is fetched again.

        The note goes first: nobody looks for one beside an archive that is there, so it would stay for good.
        """
        self.note.unlink(missing_ok=True)
        self.part.replace(self.job.destination)

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def _remember(self, answer: Stream) -> None:
        """Note what the server calls this file, for a run that has to take over."""
        tag = answer.headers.get("etag")
        if tag is not None and not tag.startswith("W/"):
            self.note.write_text(json.dumps({"url": redact(self.url), "etag": tag}), encoding="utf-8")

    def _remembered_tag(self) -> str | None:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, UnicodeDecodeError):
            note = json.loads(read_regular_text(self.note))
            if note["url"] == redact(self.url) and isinstance(note["etag"], str):
                return str(note["etag"])
        return None

    def _broke_off(self) -> IndexAccessError:
        size = self.job.artifact.size_bytes or "its"
        return IndexAccessError(
            f"`{redact(self.url)}` ended after {self.have_bytes} of {size} bytes",
            reference="index-truncated",
            hint="try again later, or use a mirror; what came so far is kept",
        )

    def _wrong_size(self, total_bytes: int) -> IntegrityError:
        self._discard()
        return IntegrityError(
            f"`{self.job.artifact.filename}` has {total_bytes} bytes instead of the"
            f" {self.job.artifact.size_bytes} that were locked",
            reference="size-mismatch",
            hint="the file on the index changed; do not use it before you know why",
        )


def _write_all(stream: io.FileIO, chunk: bytes) -> None:
    remaining = memoryview(chunk)
    while remaining:
        remaining = remaining[stream.write(remaining) :]


def _required_hash(artifact: LockedArtifact) -> Sha256:
    if artifact.sha256 is None:
        raise IntegrityError(
            f"the lock holds a placeholder instead of the hash of `{artifact.filename}`",
            reference="placeholder-hash",
            hint="`pypm lock --refresh` fills it in",
        )
    return artifact.sha256

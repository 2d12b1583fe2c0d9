"""The core metadata of a candidate, by the cheapest way that is right.

In this order: the cache; `<url>.metadata` where the index advertises it or seems to serve it unannounced; the
tail of the wheel by Range; the wheel itself; static metadata of the source distribution; and last a build,
which the caller does in the sandbox.

Source: PEP 658, PEP 714, PEP 643.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from msgspec import Struct

from pypm.codec.metadata import CoreMetadata, MetadataError, parse_metadata
from pypm.codec.simple import redact
from pypm.digest import sha256_hex
from pypm.errors import IndexAccessError, IntegrityError
from pypm.index.archives import Archives
from pypm.index.auth import origin
from pypm.index.cache import IndexCache
from pypm.index.client import MAX_METADATA_BYTES, Client
from pypm.index.pages import local_path
from pypm.index.remote_zip import RangeIgnored, Tails, read_dist_info, read_remote_dist_info
from pypm.index.sdist import read_static_metadata
from pypm.model.artifact import IndexFile
from pypm.model.candidate import Candidate
from pypm.resolve.provider import Unavailable

BuildMetadata = Callable[[Candidate, Path], bytes]
"""Builds the metadata of an unpacked folder or an sdist file, in the sandbox; returns METADATA's bytes."""

_Read = tuple[bytes, CoreMetadata]
"""Metadata as it was sent, for the cache, and what it says."""

_PREFERRED_PLATFORMS = ("-any", "manylinux", "linux", "musllinux", "macosx", "win")


_PATIENCE_SECONDS = 0.03
"""How long an unannounced `<url>.metadata` is waited for before the wheel's tail is asked for beside it."""


class _Unannounced(Struct):
    """How often a host had `<url>.metadata` although no page said so, and how often it had not."""

    hits: int = 0
    misses: int = 0

    @property
    def is_hopeless(self) -> bool:
        """Whether asking is a waste: one miss may be this wheel's, a second one is the host's."""
        return self.misses >= 2 and not self.hits


class _Delayed:
    """Work that starts in a moment on a thread of its own, unless it is spared until then."""

    def __init__(self, work: Callable[[], _Read]) -> None:
        self._work = work
        self._decided = threading.Event()
        self._wanted = False
        self._future: Future[_Read] = Future()
        threading.Thread(target=self._run, name="index-tail", daemon=True).start()

    def _run(self) -> None:
        if self._decided.wait(_PATIENCE_SECONDS) and not self._wanted:
            return
        try:
            self._future.set_result(self._work())
        except BaseException as error:
            self._future.set_exception(error)

    def spare(self) -> None:
        """Do not start any more."""
        self._decided.set()

    def result(self) -> _Read:
        """Return the result, or raise what the work raised."""
        self._wanted = True
        self._decided.set()
        return self._future.result()


class MetadataReader:
    """Reads metadata. Safe to share between threads."""

    def __init__(
        self, client: Client, cache: IndexCache, archives: Archives, build_metadata: BuildMetadata | None
    ) -> None:
        self._client = client
        self._cache = cache
        self._archives = archives
        self._tails = Tails()
        self._build_metadata = build_metadata
        self._lock = threading.Lock()
        self._unannounced: dict[str, _Unannounced] = {}
        """By host of the files."""

    def read(self, candidate: Candidate) -> CoreMetadata:
        """Return the metadata of a candidate that has files.

        Raises:
            Unavailable: it is malformed or of another package, or only a build would tell, which is off. The
                reason follows the name and version in a sentence.
            IndexAccessError: the index could not be asked.
            IntegrityError: the index sent other bytes than its page announces.
        """
        problem = "it has no files"
        for wheel in preferred_wheels(candidate):
            try:
                return _checked(self._of_wheel(wheel), candidate)
            except (MetadataError, FileNotFoundError) as error:
                missing = isinstance(error, FileNotFoundError)
                problem = f"`{wheel.filename}` " + (
                    "is gone from the index" if missing else f"is bad: {error}"
                )
        for sdist in candidate.sdists:
            try:
                return _checked(self._of_sdist(candidate, sdist), candidate)
            except (MetadataError, FileNotFoundError) as error:
                missing = isinstance(error, FileNotFoundError)
                problem = f"`{sdist.filename}` " + (
                    "is gone from the index" if missing else f"is bad: {error}"
                )
        raise Unavailable(f"has no usable metadata: {problem}")

    def _of_wheel(self, wheel: IndexFile) -> CoreMetadata:
        if wheel.url.startswith("file:"):
            return parse_metadata(read_dist_info(local_path(wheel.url), ("METADATA",))["METADATA"])
        if wheel.sha256 is not None:
            known = self._cache.metadata(wheel.sha256, wheel.url)
            if known is not None:
                return parse_metadata(known)
        content, metadata = self._asked(wheel)
        if wheel.sha256 is not None:
            self._cache.store_metadata(wheel.sha256, wheel.url, content)
        return metadata

    def _asked(self, wheel: IndexFile) -> _Read:
        if wheel.has_metadata:
            announced = self._announced(wheel)
            return self._from_archive(wheel) if announced is None else (announced, parse_metadata(announced))
        with self._lock:
            host = origin(wheel.url)
            known = self._unannounced.setdefault(host, _Unannounced())
            # A host may have it for some projects and not for others, whose releases all want to be asked.
            project = wheel.filename.partition("-")[0]
            own = self._unannounced.setdefault(f"{host} {project}", _Unannounced())
            hopeless, doubtful = known.is_hopeless or own.is_hopeless, known.misses > 0
        if hopeless:
            return self._from_archive(wheel)
        # Where some wheels have it and others do not, a miss must not cost a second wait.
        tail = _Delayed(lambda: self._from_archive(wheel)) if doubtful else None
        missed = False
        try:
            found = self._probed(wheel)
            missed = found is None
        finally:
            if tail is not None and not missed:
                tail.spare()
        with self._lock:
            for memory in (known, own):
                memory.hits += not missed
                memory.misses += missed
        if found is not None:
            return found
        return self._from_archive(wheel) if tail is None else tail.result()

    def _announced(self, wheel: IndexFile) -> bytes | None:
        """Return the announced `<url>.metadata`, checked; None when it is missing after all."""
        answer = self._client.get(f"{wheel.url}.metadata", limit_bytes=MAX_METADATA_BYTES)
        if answer.status != 200:
            return None
        if wheel.metadata_sha256 not in (None, sha256_hex(answer.content)):
            raise IntegrityError(
                f"the metadata of `{wheel.filename}` is not what the index announces",
                reference="metadata-hash-mismatch",
                hint="use another index, and tell the owner of this one",
                details=(f"expected sha256:{wheel.metadata_sha256}", f"from     {redact(wheel.url)}"),
            )
        return answer.content

    def _probed(self, wheel: IndexFile) -> _Read | None:
        """Return `<url>.metadata`, which nobody announced, or None when there is none."""
        try:
            answer = self._client.get(f"{wheel.url}.metadata", limit_bytes=MAX_METADATA_BYTES)
        except IndexAccessError as error:
            # A bucket without the right to list answers 403 for what it does not have.
            if error.reference not in ("index-unauthorized", "index-status"):
                raise
            return None
        if answer.status != 200:
            return None
        try:
            return answer.content, parse_metadata(answer.content)
        except MetadataError:
            return None

    def _from_archive(self, wheel: IndexFile) -> _Read:
        try:
            content = read_remote_dist_info(self._client, wheel.url, ("METADATA",), self._tails)["METADATA"]
        except RangeIgnored:
            content = read_dist_info(self._archives.fetch(wheel), ("METADATA",))["METADATA"]
        return content, parse_metadata(content)

    def _of_sdist(self, candidate: Candidate, sdist: IndexFile) -> CoreMetadata:
        key = sdist.sha256
        known = None if key is None else self._cache.metadata(key, sdist.url)
        if known is not None:
            return parse_metadata(known)
        archive = self._archives.fetch(sdist)
        static = read_static_metadata(archive, candidate.version)
        if static is not None:
            return static
        if self._build_metadata is None:
            raise Unavailable(
                "needs a build to tell what it requires, and builds are off",
                hint="allow builds, or choose a version that has wheels",
            )
        content = self._build_metadata(candidate, archive)
        metadata = parse_metadata(content)
        if key is not None:
            self._cache.store_metadata(key, sdist.url, content)
        return metadata


def preferred_wheels(candidate: Candidate) -> list[IndexFile]:
    """Return the three wheels to ask first, the same on every machine: pure ones, then Linux.

    All wheels of a version should say the same; where they do not, the answer must not depend on who asks.
    """

    def rank(wheel: IndexFile) -> tuple[bool, int, bool, str]:
        platform = wheel.filename[:-4].rpartition("-")[2]
        place = next(
            (number for number, mark in enumerate(_PREFERRED_PLATFORMS) if mark in f"-{platform}"),
            len(_PREFERRED_PLATFORMS),
        )
        return not wheel.has_metadata, place, "x86_64" not in platform, wheel.filename

    return sorted(candidate.wheels, key=rank)[:3]


def _checked(metadata: CoreMetadata, candidate: Candidate) -> CoreMetadata:
    if metadata.name != candidate.name or metadata.version != candidate.version:
        raise MetadataError(f"it says that it is {metadata.name} {metadata.version}")
    return metadata

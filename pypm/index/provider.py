"""Answers the resolver: which versions there are and what they need, from indexes, URLs and paths.

Both questions are answered once; a prefetch merely asks earlier, on a pool of threads. What arrives first
never changes an answer, so any order of replies gives the same lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Generic, TypeVar

from packaging.utils import NormalizedName
from packaging.version import Version

from pypm.codec.filenames import parse_sdist_name, parse_wheel_name
from pypm.codec.metadata import CoreMetadata
from pypm.errors import ConfigurationError
from pypm.index.archives import Archives
from pypm.index.cache import IndexCache
from pypm.index.client import Client
from pypm.index.direct import DirectOffer, path_offer, url_offer
from pypm.index.locate import Locator
from pypm.index.metadata import BuildMetadata, MetadataReader
from pypm.index.offers import PageOffer, Rules, Shelf, parse_time
from pypm.index.pages import Pages
from pypm.model.candidate import Candidate, CandidateMetadata
from pypm.model.project import Index, IndexSource, PathSource, Source, UrlSource
from pypm.paths import Cache
from pypm.resolve.provider import Offer, Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """What of the project's settings decides which files count."""

    root: Path
    """The project's folder; relative paths of sources start here."""
    exclude_newer: str | None = None
    """ISO 8601, absolute: a duration is resolved by the caller, who has the clock."""
    exclude_newer_package: Mapping[NormalizedName, str | None] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """Overrides for single packages; None lifts the limit."""
    no_build: bool = False
    no_build_package: frozenset[NormalizedName] = frozenset()
    no_binary: bool = False
    no_binary_package: frozenset[NormalizedName] = frozenset()


_Key = TypeVar("_Key")
_Result = TypeVar("_Result")
_OfferKey = tuple[NormalizedName, "Source | None"]
_MetadataKey = tuple[NormalizedName, Version, Source]


class IndexProvider:
    """Implements `pypm.resolve.provider.Provider`. Close it, or use it as a context manager."""

    def __init__(  # noqa: PLR0913 - the rooms that it wires
        self,
        client: Client,
        indexes: Sequence[Index],
        settings: ProviderSettings,
        cache: Cache,
        build_metadata: BuildMetadata | None = None,
        *,
        refresh: bool = False,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """`indexes` in order of preference: the first that has a page for a name is the one that counts.

        Raises:
            ConfigurationError: a date limit is not a date.
        """
        index_cache = IndexCache(cache.index, refresh=refresh, warn=warn)
        self._indexes = {index.name: index for index in indexes}
        self._settings = settings
        self._build_metadata = build_metadata
        self._pages = Pages(client, index_cache)
        self._archives = Archives(client, index_cache, cache.wheels)
        self._reader = MetadataReader(client, index_cache, self._archives, build_metadata)
        self.locator = Locator(self._pages, index_cache)
        self._limit = _moment(settings.exclude_newer, "exclude-newer")
        self._limits = {
            name: _moment(text, f"exclude-newer-package.{name}")
            for name, text in settings.exclude_newer_package.items()
        }
        self._pool = ThreadPoolExecutor(client.settings.connections, thread_name_prefix="index")
        self._offers: _Once[_OfferKey, Offer] = _Once(self._pool)
        self._metadata: _Once[_MetadataKey, CandidateMetadata] = _Once(self._pool)
        self._flat_pages: _Once[str, Shelf] = _Once(self._pool)

    def __enter__(self) -> IndexProvider:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop what was prefetched and is not needed any more. The client stays open: it is the caller's."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def offer(self, name: NormalizedName, source: Source | None) -> Offer:
        """Return what `source`, or the configured indexes in order, offer under `name`; see the protocol."""
        return self._offers.get((name, source), lambda: self._find_offer(name, source))

    def metadata(self, candidate: Candidate) -> CandidateMetadata:
        """Return the candidate's core metadata; see the protocol."""
        return self._metadata.get(_metadata_key(candidate), lambda: self._find_metadata(candidate))

    def prefetch_offers(self, names: Iterable[tuple[NormalizedName, Source | None]]) -> None:
        """Ask for these names in the background."""
        for name, source in names:
            self._offers.begin((name, source), partial(self._find_offer, name, source))

    def prefetch_metadata(self, candidates: Iterable[Candidate]) -> None:
        """Ask for the metadata of these in the background. A build waits until it is really needed."""
        for candidate in candidates:
            if candidate.wheels:
                self._metadata.begin(_metadata_key(candidate), partial(self._find_metadata, candidate))

    def _find_offer(self, name: NormalizedName, source: Source | None) -> Offer:
        if source is None:
            return self._from_indexes(name)
        if isinstance(source, IndexSource):
            return self._from_index(name, source)
        if isinstance(source, UrlSource):
            return url_offer(name, source, self._archives)
        if isinstance(source, PathSource):
            return path_offer(name, source, self._settings.root, self._archives, self._build_metadata)
        raise Unavailable(
            f"`{name}` comes from a {type(source).__name__.removesuffix('Source').lower()} source,"
            " which no index answers for"
        )

    def _from_indexes(self, name: NormalizedName) -> Offer:
        """Flat places together with the first index that has the name, and no other index.

        Were versions of several indexes mixed, whoever registers a private name on the public index would win
        with a higher version (dependency confusion).
        """
        searched = [index for index in self._indexes.values() if not index.explicit]
        flat_shelves = [self._flat_shelf(index) for index in searched if index.flat]
        shelves = [shelf for shelf in flat_shelves if _holds(shelf, name)]
        for index in searched:
            if index.flat:
                continue
            page = self._pages.project(index, name)
            if page is not None:
                shelves.append(Shelf(page=page, source=IndexSource(index=index.name)))
                break
        if not shelves:
            raise Unavailable(
                f"no index has a package `{name}`", hint="check the name, or configure the index that has it"
            )
        return PageOffer(name, shelves, self._rules(name))

    def _from_index(self, name: NormalizedName, source: IndexSource) -> Offer:
        index = self._indexes.get(source.index)
        if index is None:
            raise ConfigurationError(
                f"`{name}` is to come from index `{source.index}`, which is not configured",
                reference="unknown-index",
                hint="add it as `[[tool.pypm.index]]`",
            )
        if index.flat:
            shelf = self._flat_shelf(index)
            if not _holds(shelf, name):
                raise Unavailable(f"index `{index.name}` has no package `{name}`")
            return PageOffer(name, (shelf,), self._rules(name))
        page = self._pages.project(index, name)
        if page is None:
            raise Unavailable(f"index `{index.name}` has no package `{name}`")
        return PageOffer(name, (Shelf(page=page, source=IndexSource(index=index.name)),), self._rules(name))

    def _flat_shelf(self, index: Index) -> Shelf:
        def read() -> Shelf:
            page = self._pages.flat(index)
            return Shelf(page=page, source=IndexSource(index=index.name), is_dated=False)

        return self._flat_pages.get(index.name, read)

    def _rules(self, name: NormalizedName) -> Rules:
        settings = self._settings
        return Rules(
            exclude_newer=self._limits.get(name, self._limit),
            no_build=settings.no_build or name in settings.no_build_package,
            no_binary=settings.no_binary or name in settings.no_binary_package,
        )

    def _find_metadata(self, candidate: Candidate) -> CandidateMetadata:
        core: CoreMetadata | None = None
        if not candidate.wheels and not candidate.sdists:
            offer = self.offer(candidate.name, candidate.source)
            core = offer.metadata if isinstance(offer, DirectOffer) else None
        if core is None:
            core = self._reader.read(candidate)
        return CandidateMetadata(
            name=core.name,
            version=core.version,
            requires_dist=core.requires_dist,
            requires_python=core.requires_python,
            extras=frozenset(core.provides_extra),
        )


class _Once(Generic[_Key, _Result]):
    """Results by request, each worked out once: by the pool when begun ahead, else by whoever asks first.

    A begun request that no thread of the pool has taken up yet is taken back by the one who needs it now, so
    nobody waits behind guesses.
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._results: dict[_Key, Future[_Result]] = {}

    def begin(self, key: _Key, work: Callable[[], _Result]) -> None:
        """Work out a result in the background unless that has begun."""
        with self._lock:
            if key not in self._results:
                self._results[key] = self._pool.submit(work)

    def get(self, key: _Key, work: Callable[[], _Result]) -> _Result:
        """Return the result, or raise what working it out raised."""
        with self._lock:
            future = self._results.get(key)
            mine = future is None or future.cancel()
            if future is None or mine:
                future = self._results[key] = Future()
        if mine:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
        return future.result()


def _holds(shelf: Shelf, name: NormalizedName) -> bool:
    for entry in shelf.page.entries:
        parsed = parse_wheel_name(entry.filename) or parse_sdist_name(entry.filename)
        if parsed is not None and parsed.name == name:
            return True
    return False


def _metadata_key(candidate: Candidate) -> _MetadataKey:
    return candidate.name, candidate.version, candidate.source


def _moment(text: str | None, where: str) -> datetime | None:
    if text is None:
        return None
    moment = parse_time(text)
    if moment is None:
        raise ConfigurationError(
            f"`{where}` is not an ISO 8601 time: `{text}`",
            reference="bad-date-limit",
            hint="write it as `2025-01-31T00:00:00Z`",
        )
    return moment

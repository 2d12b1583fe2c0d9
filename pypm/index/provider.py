"""Answers the resolver: which versions there are and what they need, from indexes, URLs and paths.

Both questions are answered once; a prefetch merely asks earlier, on a pool of threads. What arrives first
never changes an answer, so any order of replies gives the same lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from msgspec import Struct, field
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from pypm.codec.filenames import parse_version, version_in_name
from pypm.codec.metadata import CoreMetadata
from pypm.errors import ConfigurationError
from pypm.index.archives import Archives, FetchHooks
from pypm.index.cache import IndexCache
from pypm.index.client import Client
from pypm.index.direct import DirectOffer, git_offer, path_offer, url_offer
from pypm.index.git import Repositories
from pypm.index.locate import Locator
from pypm.index.metadata import BuildMetadata, MetadataReader
from pypm.index.offers import PageOffer, Rules, Shelf, parse_time
from pypm.index.once import Once
from pypm.index.pages import OpenSheet, Pages
from pypm.index.walk import Walk
from pypm.model.candidate import Candidate, CandidateMetadata
from pypm.model.project import Index, IndexSource, PathSource, Source, UrlSource, VcsSource
from pypm.paths import Cache
from pypm.resolve.provider import Offer, Unavailable

if TYPE_CHECKING:
    from pypm.resolve.inputs import Inputs


class ProviderSettings(Struct, frozen=True, kw_only=True):
    """What of the project's settings decides which files count."""

    root: Path
    """The project's folder; relative paths of sources start here."""
    outside: Path | None = None
    """The project whose programs are never run outside of a sandbox."""
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
    placed: frozenset[NormalizedName] = frozenset()
    """Packages of which the project itself says where they come from, or that none are wanted."""
    locked_commits: Mapping[VcsSource, str] = field(default_factory=lambda: MappingProxyType({}))
    """Commits of repositories that stay: by source, as `index.git.bare` gives it."""


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
        index_cache: IndexCache,
        *,
        build_metadata: BuildMetadata | None = None,
        hooks: FetchHooks | None = None,
    ) -> None:
        """`indexes` in order of preference: the first that has a page for a name is the one that counts.

        Raises:
            ConfigurationError: a date limit is not a date.
        """
        self._open = ExitStack()
        self._open.enter_context(index_cache.behind())
        self._indexes = {index.name: index for index in indexes}
        self._settings = settings
        self._build_metadata = build_metadata
        self._pages = Pages(client, index_cache)
        self._archives = Archives(client, index_cache, cache.wheels, hooks)
        self._reader = MetadataReader(client, index_cache, self._archives, build_metadata)
        self._repositories = Repositories(
            cache.repositories,
            offline=client.settings.offline,
            locked=settings.locked_commits,
            outside=settings.outside,
        )
        self._at_commits: dict[_OfferKey, DirectOffer] = {}
        """By the source with its commit: what was offered for a branch, say."""
        self.locator = Locator(self._pages, index_cache)
        self._limit = _moment(settings.exclude_newer, "exclude-newer")
        self._limits = {
            name: _moment(text, f"exclude-newer-package.{name}")
            for name, text in settings.exclude_newer_package.items()
        }
        self._pool = ThreadPoolExecutor(client.settings.connections, thread_name_prefix="index")
        self._offers: Once[_OfferKey, Offer] = Once(self._pool)
        self._metadata: Once[_MetadataKey, CandidateMetadata] = Once(self._pool)
        self._flat_pages: Once[str, Shelf] = Once(self._pool)
        self._walk: Walk | None = None
        self._tried: set[NormalizedName] = set()
        self._followed: set[_MetadataKey] = set()
        """Versions whose own pins were looked at, or will be as soon as their metadata is here."""

    def __enter__(self) -> IndexProvider:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop what was prefetched and is not needed any more. The client stays open: it is the caller's."""
        if self._walk is not None:
            self._walk.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._open.close()

    def walk(self, inputs: Inputs) -> None:
        """Walk the dependency graph of a question that will be asked, in the background; see `index.walk`."""
        if self._walk is None:
            self._walk = Walk(inputs, self)

    def traffic(self) -> str:
        """Return what was asked for, and how much of it ahead and in vain, for who wants the details."""
        (pages, idle_pages), (metadata, idle_metadata) = self._offers.counts(), self._metadata.counts()
        return (
            f"Asked for {pages} packages ({idle_pages} of them in vain)"
            f" and the metadata of {metadata} versions ({idle_metadata} of them in vain)"
        )

    def offer(self, name: NormalizedName, source: Source | None) -> Offer:
        """Return what `source`, or the configured indexes in order, offer under `name`; see the protocol."""
        return self._offers.get((name, source), lambda: self._find_sorted(name, source))

    def metadata(self, candidate: Candidate) -> CandidateMetadata:
        """Return the candidate's core metadata; see the protocol."""
        self._tried.add(candidate.name)
        return self._metadata.get(_metadata_key(candidate), partial(self._find_metadata, candidate))

    def prefetch_offers(self, names: Iterable[tuple[NormalizedName, Source | None]]) -> None:
        """Ask for these names in the background."""
        for key in names:
            self.begin_offer(key)

    def prefetch_metadata(self, candidates: Iterable[Candidate]) -> None:
        """Ask for the metadata of these in the background. A build waits until it is really needed.

        The first guess of a package that the walk looks after is left to the walk, which has seen more
        requirements; a resolver that goes through versions knows better.
        """
        for candidate in candidates:
            guessed = candidate.name not in self._tried and self._is_walked(candidate)
            if candidate.wheels and not guessed:
                future = self.begin_metadata(candidate)
                key = _metadata_key(candidate)
                if candidate.name in self._tried and key not in self._followed:
                    self._followed.add(key)
                    future.add_done_callback(self._begin_pinned)

    def _begin_pinned(self, read: Future[CandidateMetadata]) -> None:
        """Ask for what a version pins, when versions are gone through: each of them pins another one.

        `awscli` has a thousand releases, and each names its own `botocore`.
        """
        if read.cancelled() or read.exception() is not None:
            return
        for requirement in read.result().requires_dist:
            version = _pinned_version(requirement) if requirement.marker is None else None
            if version is None:
                continue
            offer = self._offers.done((canonicalize_name(requirement.name), None))
            if offer is not None and version in offer.versions:
                candidate = offer.candidate(version)
                if candidate.wheels:
                    # The pool may be closed by now: then nobody needs it any more.
                    with suppress(RuntimeError):
                        self.begin_metadata(candidate)

    def _is_walked(self, candidate: Candidate) -> bool:
        name, source = candidate.name, candidate.source
        return self._walk is not None and (self._walk.knows((name, None)) or self._walk.knows((name, source)))

    def begin_offer(self, key: _OfferKey) -> Future[Offer]:
        """Ask for a name in the background."""
        return self._offers.begin(key, partial(self._find_sorted, *key))

    def begin_metadata(self, candidate: Candidate) -> Future[CandidateMetadata]:
        """Ask for the metadata of a candidate in the background."""
        return self._metadata.begin(_metadata_key(candidate), partial(self._find_metadata, candidate))

    def names_ahead(self) -> int:
        """Return how many names were begun that nobody has asked for."""
        return self._offers.counts()[1]

    def _find_sorted(self, name: NormalizedName, source: Source | None) -> Offer:
        """Find an offer and sort its files, as long as nobody waits for it."""
        offer = self._find_offer(name, source)
        if not offer.versions and not offer.excluded:
            raise Unavailable(
                f"the page of `{name}` lists no wheel and no source distribution of it",
                hint="its files were removed, or are of kinds that nobody installs any more (`.egg`, `.exe`):"
                " require another package, or configure an index that has it",
            )
        return offer

    def _find_offer(self, name: NormalizedName, source: Source | None) -> Offer:
        if source is None:
            return self._from_indexes(name)
        if isinstance(source, IndexSource):
            return self._from_index(name, source)
        if isinstance(source, UrlSource):
            return url_offer(name, source, self._archives)
        if isinstance(source, PathSource):
            placed = path_offer(name, source, self._settings.root, self._archives, self._build_metadata)
            self._require_placed(placed)
            return placed
        if isinstance(source, VcsSource):
            found = git_offer(name, source, self._repositories, self._build_metadata)
            self._require_placed(found)
            self._at_commits[name, found.only.source] = found
            return found
        raise Unavailable(
            f"`{name}` comes from a {type(source).__name__.removesuffix('Source').lower()} source,"
            " which no index answers for"
        )

    def _require_placed(self, offer: DirectOffer) -> None:
        """Refuse a folder that has a source of its own for what it requires where the project names none.

        The requirement alone reads like one on a package of an index, and whoever registers the name there
        would win (dependency confusion).
        """
        required = () if offer.metadata is None else offer.metadata.requires_dist
        names = {canonicalize_name(requirement.name) for requirement in required}
        for name in sorted(names & offer.sources - self._settings.placed):
            owner = offer.only.name
            raise ConfigurationError(
                f"`{owner}` takes `{name}` from a source of its own, and this project names none for it",
                reference="source-of-a-dependency",
                hint=f"say in `[tool.pypm.sources]` where `{name}` comes from,"
                f" as the project of `{owner}` does",
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
            sheet = self._pages.sheet(index, name)
            if sheet is not None:
                shelves.append(Shelf(sheet=sheet, source=IndexSource(index=index.name)))
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
        sheet = self._pages.sheet(index, name)
        if sheet is None:
            raise Unavailable(f"index `{index.name}` has no package `{name}`")
        return PageOffer(name, (Shelf(sheet=sheet, source=IndexSource(index=index.name)),), self._rules(name))

    def _flat_shelf(self, index: Index) -> Shelf:
        def read() -> Shelf:
            page = self._pages.flat(index)
            return Shelf(sheet=OpenSheet(page), source=IndexSource(index=index.name), is_dated=False)

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
            key = candidate.name, candidate.source
            offer = self._at_commits.get(key) or self.offer(*key)
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


def _holds(shelf: Shelf, name: NormalizedName) -> bool:
    return any(version_in_name(entry.filename, name) is not None for entry in shelf.sheet.open().entries)


def _pinned_version(requirement: Requirement) -> Version | None:
    """Return the version of `NAME==VERSION`."""
    if len(requirement.specifier) != 1:
        return None
    specifiers = list(requirement.specifier)
    if specifiers[0].operator != "==" or specifiers[0].version.endswith(".*"):
        return None
    return parse_version(specifiers[0].version)


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

"""What an index offers under one name: pages to versions, candidates only when looked at."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from itertools import islice
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName
from packaging.version import Version

from pypm.codec.filenames import versions_in_names
from pypm.codec.metadata import MetadataError, parse_legacy_specifier
from pypm.codec.simple import PageFile
from pypm.digest import sha256_file
from pypm.index.pages import Sheet, local_path
from pypm.model.artifact import IndexFile, Sha256
from pypm.model.candidate import Candidate
from pypm.model.project import Source


class Rules(Struct, frozen=True, kw_only=True):
    """Which files of a package count."""

    exclude_newer: datetime | None = None
    """Files uploaded at this moment or later do not count, nor do files without an upload time."""
    no_build: bool = False
    """Source distributions do not count."""
    no_binary: bool = False
    """Wheels do not count."""


class Shelf(Struct, frozen=True, kw_only=True):
    """A page, and how candidates from it name their source."""

    sheet: Sheet
    source: Source
    is_dated: bool = True
    """Whether the date limit applies. Flat places are chosen by hand and carry no dates."""


_KEPT_AT_FIRST = 4
"""Versions whose files are kept when a page is sorted: the newest, of which one is chosen nearly always."""

_KEPT_LATER = 16
"""Versions on either side of one that is asked for later: who asks for one often asks for the next. Each time
that it happens, twice as many: a resolver that goes through a package goes on."""


class PageOffer:
    """Versions on one or several shelves; a version that stands on two is taken from the first.

    Of a page with hundreds of versions, the files of a few are kept; for another the page is opened again.
    """

    def __init__(self, name: NormalizedName, shelves: Sequence[Shelf], rules: Rules) -> None:
        self._name = name
        self._shelves = tuple(shelves)
        self._rules = rules
        self._lock = threading.RLock()
        self._is_sorted = False
        self._reach = _KEPT_LATER
        self._versions: tuple[Version, ...] = ()
        self._excluded: Mapping[Version, str] = MappingProxyType({})
        self._places: tuple[dict[Version, Sequence[int]], ...] = ()
        """For each shelf, where the files of its versions that count stand on the page."""
        self._entries: dict[Version, tuple[Source, Sequence[PageFile]]] = {}
        self._candidates: dict[Version, Candidate] = {}

    @property
    def versions(self) -> Sequence[Version]:
        """Every version with a usable file, highest first."""
        self._sort()
        return self._versions

    @property
    def excluded(self) -> Mapping[Version, str]:
        """Versions of which every file is left out, with the reason."""
        self._sort()
        return self._excluded

    def candidate(self, version: Version) -> Candidate:
        """Return the candidate, the same object for the same version."""
        self._sort()
        with self._lock:
            known = self._candidates.get(version)
            if known is None:
                if version not in self._entries:
                    self._keep_around(version)
                source, entries = self._entries.pop(version)
                known = _candidate(self._name, version, source, entries)
                self._candidates[version] = known
        return known

    def _sort(self) -> None:
        with self._lock:
            if self._is_sorted:
                return
            places = []
            excluded: dict[Version, str] = {}
            pages = [shelf.sheet.open() for shelf in self._shelves]
            for shelf, page in zip(self._shelves, pages, strict=True):
                kept, left_out = _sort_files(self._name, page.entries, self._rules, is_dated=shelf.is_dated)
                places.append(kept)
                for version, reason in left_out.items():
                    excluded.setdefault(version, reason)
            self._places = tuple(places)
            # In the order of the pages, which are sorted nearly: then sorting compares each version once.
            usable = dict.fromkeys(version for kept in places for version in kept)
            self._excluded = MappingProxyType(
                {version: reason for version, reason in excluded.items() if version not in usable}
            )
            self._versions = tuple(sorted(usable, reverse=True))
            stable = [version for version in self._versions if not version.is_prerelease][:_KEPT_AT_FIRST]
            for version in {*self._versions[:1], *stable}:
                number = self._shelf_of(version)
                entries = pages[number].entries
                self._keep(version, number, [entries[place] for place in places[number][version]])
            self._is_sorted = True

    def _shelf_of(self, version: Version) -> int:
        return next(number for number, places in enumerate(self._places) if version in places)

    def _keep(self, version: Version, number: int, entries: Sequence[PageFile]) -> None:
        self._entries[version] = (self._shelves[number].source, entries)

    def _keep_around(self, version: Version) -> None:
        place = self._versions.index(version)  # Of two versions that are equal, the one that was sorted.
        around = self._versions[max(0, place - self._reach) : place + self._reach + 1]
        self._reach *= 2
        wanted = [near for near in around if near not in self._candidates and near not in self._entries]
        for number, places in enumerate(self._places):
            here = [near for near in wanted if self._shelf_of(near) == number]
            found = iter(self._shelves[number].sheet.files_at([i for near in here for i in places[near]]))
            for near in here:
                self._keep(near, number, [*islice(found, len(places[near]))])


def _sort_files(
    name: NormalizedName, entries: Sequence[PageFile], rules: Rules, *, is_dated: bool
) -> tuple[dict[Version, Sequence[int]], dict[Version, str]]:
    """Return where the files that count stand, by version, and for the others the reason of the last one left
    out."""
    kept: dict[Version, Sequence[int]] = {}
    left_out: dict[Version, str] = {}
    versions = versions_in_names([entry.filename for entry in entries], name)
    limit = rules.exclude_newer if is_dated else None
    text = "" if limit is None else _written(limit)
    if limit is not None and _are_older(entries, text):
        limit = None
    every_file_counts = limit is None and not rules.no_binary and not rules.no_build
    start, count = 0, len(entries)
    while start < count:
        # A version's files stand together nearly always.
        version, stop = versions[start], start + 1
        while stop < count and versions[stop] is version:
            stop += 1
        places: Sequence[int] = range(start, stop)
        start = stop
        if version is None:
            continue
        if not every_file_counts:
            reasons = {place: _reason_against(entries[place], rules, limit, text) for place in places}
            places = [place for place, reason in reasons.items() if reason is None]
            for reason in reasons.values():
                if reason is not None:
                    left_out[version] = reason
        if places:
            known = kept.get(version)
            kept[version] = places if known is None else (*known, *places)
    return kept, left_out


def _are_older(entries: Sequence[PageFile], text: str) -> bool:
    """Tell whether every file was uploaded before a moment, told by the text alone; False means: ask each."""
    moments = [entry.upload_time for entry in entries]
    if None in moments:
        return False
    # Nearly all times are written alike, and then they sort as text: what is before needs no thought.
    return set(map(len, moments)) == {len(text)} and max(moments) < text  # type: ignore[arg-type, operator, type-var]


def _reason_against(entry: PageFile, rules: Rules, limit: datetime | None, text: str) -> str | None:
    """Say why a file does not count; `text` is the limit as indexes write times."""
    if limit is not None and not _is_plainly_older(entry, text):
        reason = _too_new(entry, limit)
        if reason is not None:
            return reason
    if rules.no_binary and rules.no_build:
        return "it has files, and wheels and builds are both off (`no-binary` and `no-build`)"
    is_wheel = entry.filename.endswith(".whl")
    if is_wheel and rules.no_binary:
        return "it has no source distribution, and wheels are off (`no-binary`)"
    if not is_wheel and rules.no_build:
        return "it has no wheel, and builds are off (`no-build`)"
    return None


def _is_plainly_older(entry: PageFile, text: str) -> bool:
    uploaded = entry.upload_time
    return uploaded is not None and len(uploaded) == len(text) and uploaded < text


def _written(limit: datetime) -> str:
    """Return a moment as indexes write upload times: in UTC, with microseconds."""
    return limit.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _too_new(entry: PageFile, limit: datetime) -> str | None:
    if entry.upload_time is None:
        return "its files have no upload time, and a date limit is set (`exclude-newer`)"
    uploaded = parse_time(entry.upload_time)
    if uploaded is None:
        return "the upload time of its files cannot be read, and a date limit is set"
    if uploaded >= limit:
        moment = limit.isoformat(timespec="seconds").replace("+00:00", "Z")
        return f"it was uploaded after {moment}, the limit by `exclude-newer`"
    return None


def parse_time(text: str) -> datetime | None:
    """Return an ISO 8601 time; without an offset it is UTC. None when it is not one.

    A date alone is its first moment.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(_padded(text.strip()))
        except ValueError:
            return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


def _padded(text: str) -> str:
    """Python 3.10 reads neither `Z` nor fractions of other than three or six digits."""
    if text[-1:] in ("Z", "z"):
        text = text[:-1] + "+00:00"
    head, dot, tail = text.partition(".")
    if not dot:
        return text
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}"


def _candidate(
    name: NormalizedName, version: Version, source: Source, entries: Sequence[PageFile]
) -> Candidate:
    files = sorted((_with_hash(entry.index_file()) for entry in entries), key=lambda file: file.filename)
    yanked = [file.yanked for file in files]
    return Candidate(
        name=name,
        version=version,
        source=source,
        wheels=tuple(file for file in files if file.filename.endswith(".whl")),
        sdists=tuple(file for file in files if not file.filename.endswith(".whl")),
        yanked=None if None in yanked else next((reason for reason in yanked if reason), ""),
        requires_python=_agreed_python(files),
    )


def _with_hash(file: IndexFile) -> IndexFile:
    """Hash a file of a local folder, which nobody hashed before, once it is looked at."""
    if file.sha256 is not None or not file.url.startswith("file:"):
        return file
    return replace(file, sha256=Sha256(sha256_file(local_path(file.url))))


def _agreed_python(files: Sequence[IndexFile]) -> SpecifierSet | None:
    texts = {file.requires_python for file in files}
    text = texts.pop() if len(texts) == 1 else None
    if not text:
        return None
    try:
        return parse_legacy_specifier(text)
    except MetadataError:
        return None

"""What an index offers under one name: pages to versions, candidates only when looked at."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from types import MappingProxyType

from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName
from packaging.version import Version

from pypm.codec.filenames import version_in_name
from pypm.codec.metadata import MetadataError, parse_legacy_specifier
from pypm.codec.simple import PageFile
from pypm.digest import sha256_file
from pypm.index.pages import Opener, local_path
from pypm.model.artifact import IndexFile, Sha256
from pypm.model.candidate import Candidate
from pypm.model.project import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which files of a package count."""

    exclude_newer: datetime | None = None
    """Files uploaded at this moment or later do not count, nor do files without an upload time."""
    no_build: bool = False
    """Source distributions do not count."""
    no_binary: bool = False
    """Wheels do not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """A page, and how candidates from it name their source."""

    open: Opener
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
        self._entries: dict[Version, tuple[Source, list[PageFile]]] = {}
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
            usable, excluded = self._opened()
            self._versions = tuple(sorted(usable, reverse=True))
            self._excluded = MappingProxyType(excluded)
            stable = [version for version in self._versions if not version.is_prerelease][:_KEPT_AT_FIRST]
            self._entries = {version: usable[version] for version in {*self._versions[:1], *stable}}
            self._is_sorted = True

    def _keep_around(self, version: Version) -> None:
        place = self._versions.index(version)  # Of two versions that are equal, the one that was sorted.
        around = self._versions[max(0, place - self._reach) : place + self._reach + 1]
        self._reach *= 2
        usable, _ = self._opened()
        self._entries.update(
            (near, usable[near]) for near in around if near not in self._candidates and near in usable
        )

    def _opened(self) -> tuple[dict[Version, tuple[Source, list[PageFile]]], dict[Version, str]]:
        """Open the pages; return the files that count, by version, and for other versions why none does."""
        usable: dict[Version, tuple[Source, list[PageFile]]] = {}
        excluded: dict[Version, str] = {}
        for shelf in self._shelves:
            kept, left_out = _sort_files(self._name, shelf, self._rules)
            for version, entries in kept.items():
                usable.setdefault(version, (shelf.source, entries))
            for version, reason in left_out.items():
                excluded.setdefault(version, reason)
        return usable, {version: reason for version, reason in excluded.items() if version not in usable}


def _sort_files(
    name: NormalizedName, shelf: Shelf, rules: Rules
) -> tuple[dict[Version, list[PageFile]], dict[Version, str]]:
    """Return files that count by version, and for the others the reason of the last one left out."""
    kept: dict[Version, list[PageFile]] = {}
    left_out: dict[Version, str] = {}
    limit = rules.exclude_newer if shelf.is_dated else None
    first_moment = "" if limit is None else _written(limit)
    for entry in shelf.open().entries:
        filename = entry.filename
        version = version_in_name(filename, name)
        if version is None:
            continue
        if limit is not None:
            uploaded = entry.upload_time
            # Nearly all times are written alike, and then they sort as text: what is before needs no thought.
            if uploaded is None or len(uploaded) != len(first_moment) or not uploaded < first_moment:
                reason = _too_new(entry, limit)
                if reason is not None:
                    left_out[version] = reason
                    continue
        is_wheel = filename.endswith(".whl")
        if is_wheel and rules.no_binary:
            left_out[version] = "it has no source distribution, and wheels are off (`no-binary`)"
        elif not is_wheel and rules.no_build:
            left_out[version] = "it has no wheel, and builds are off (`no-build`)"
        else:
            files = kept.get(version)
            if files is None:
                kept[version] = [entry]
            else:
                files.append(entry)
    return kept, left_out


def _written(limit: datetime) -> str:
    """Return a moment as indexes write upload times: in UTC, with microseconds."""
    return limit.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _too_new(entry: PageFile, limit: datetime) -> str | None:
    if entry.upload_time is None:
        return "its files have no upload time, and a date limit is set"
    uploaded = parse_time(entry.upload_time)
    if uploaded is None:
        return "the upload time of its files cannot be read, and a date limit is set"
    if uploaded >= limit:
        return f"it was uploaded after {limit.isoformat(timespec='seconds').replace('+00:00', 'Z')}"
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

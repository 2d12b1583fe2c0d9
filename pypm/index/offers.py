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

from pypm.codec.filenames import parse_sdist_name, parse_wheel_name
from pypm.codec.metadata import MetadataError, parse_legacy_specifier
from pypm.codec.simple import PageFile, SimplePage
from pypm.digest import sha256_file
from pypm.index.pages import local_path
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

    page: SimplePage
    source: Source
    is_dated: bool = True
    """Whether the date limit applies. Flat places are chosen by hand and carry no dates."""


class PageOffer:
    """Versions on one or several shelves; a version that stands on two is taken from the first."""

    def __init__(self, name: NormalizedName, shelves: Sequence[Shelf], rules: Rules) -> None:
        self._name = name
        self._shelves = tuple(shelves)
        self._rules = rules
        self._lock = threading.RLock()
        self._usable: dict[Version, tuple[Shelf, list[PageFile]]] | None = None
        self._versions: tuple[Version, ...] = ()
        self._excluded: Mapping[Version, str] = MappingProxyType({})
        self._candidates: dict[Version, Candidate] = {}

    @property
    def versions(self) -> Sequence[Version]:
        """Every version with a usable file, highest first."""
        self._sorted()
        return self._versions

    @property
    def excluded(self) -> Mapping[Version, str]:
        """Versions of which every file is left out, with the reason."""
        self._sorted()
        return self._excluded

    def candidate(self, version: Version) -> Candidate:
        """Return the candidate, the same object for the same version."""
        usable = self._sorted()
        with self._lock:
            known = self._candidates.get(version)
            if known is None:
                shelf, entries = usable[version]
                known = _candidate(self._name, version, shelf.source, entries)
                self._candidates[version] = known
        return known

    def _sorted(self) -> dict[Version, tuple[Shelf, list[PageFile]]]:
        with self._lock:
            if self._usable is None:
                usable: dict[Version, tuple[Shelf, list[PageFile]]] = {}
                excluded: dict[Version, str] = {}
                for shelf in self._shelves:
                    kept, left_out = _sort_files(self._name, shelf, self._rules)
                    for version, entries in kept.items():
                        usable.setdefault(version, (shelf, entries))
                    for version, reason in left_out.items():
                        excluded.setdefault(version, reason)
                self._versions = tuple(sorted(usable, reverse=True))
                self._excluded = MappingProxyType(
                    {version: reason for version, reason in excluded.items() if version not in usable}
                )
                self._usable = usable
            return self._usable


def _sort_files(
    name: NormalizedName, shelf: Shelf, rules: Rules
) -> tuple[dict[Version, list[PageFile]], dict[Version, str]]:
    """Return files that count by version, and for the others the reason of the last one left out."""
    kept: dict[Version, list[PageFile]] = {}
    left_out: dict[Version, str] = {}
    limit = rules.exclude_newer if shelf.is_dated else None
    for entry in shelf.page.entries:
        filename = entry.filename
        is_wheel = filename.endswith(".whl")
        parsed = parse_wheel_name(filename) if is_wheel else parse_sdist_name(filename)
        if parsed is None or parsed.name != name:
            continue
        version = parsed.version
        if limit is not None:
            reason = _too_new(entry, limit)
            if reason is not None:
                left_out[version] = reason
                continue
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

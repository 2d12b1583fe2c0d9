"""A scenario's universe in memory, as a provider: the resolver alone, without index or files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from integration.scenarios.files import file_names, requires_dist
from integration.scenarios.model import Release
from pypm.model.artifact import IndexFile
from pypm.model.candidate import Candidate, CandidateMetadata
from pypm.model.project import IndexSource, Source
from pypm.resolve.provider import Unavailable


@dataclass(frozen=True)
class MemoryOffer:
    """The versions of one package in memory."""

    candidates: Mapping[Version, Candidate]
    excluded: Mapping[Version, str]

    @property
    def versions(self) -> Sequence[Version]:
        return sorted(self.candidates, reverse=True)

    def candidate(self, version: Version) -> Candidate:
        return self.candidates[version]


class MemoryProvider:
    """Answers from a table of releases; counts what it is asked."""

    def __init__(
        self,
        packages: Mapping[str, Mapping[str, Release]],
        *,
        no_build: Iterable[str] = (),
        no_binary: Iterable[str] = (),
    ) -> None:
        self._packages = {canonicalize_name(name): releases for name, releases in packages.items()}
        self._no_build = frozenset(map(canonicalize_name, no_build))
        self._no_binary = frozenset(map(canonicalize_name, no_binary))
        self._metadata: dict[tuple[str, Version], CandidateMetadata] = {}
        self._offers: dict[tuple[NormalizedName, Source | None], MemoryOffer] = {}
        self.offers_asked: list[str] = []
        self.metadata_asked: list[str] = []
        self.prefetched: list[str] = []

    def offer(self, name: NormalizedName, source: Source | None) -> MemoryOffer:
        key = (name, source)
        self.offers_asked.append(name)
        if key not in self._offers:
            self._offers[key] = self._offer(name, source)
        return self._offers[key]

    def _offer(self, name: NormalizedName, source: Source | None) -> MemoryOffer:
        if name not in self._packages:
            raise Unavailable(f"`{name}` was not found in the index")
        candidates: dict[Version, Candidate] = {}
        excluded: dict[Version, str] = {}
        for text, release in self._packages[name].items():
            version = Version(text)
            wheels, sdists = files_of(name, text, release)
            wheels = () if name in self._no_binary else wheels
            sdists = () if name in self._no_build else sdists
            if not wheels and not sdists:
                excluded[version] = "has no wheel, and builds are off"
                continue
            requires_python = SpecifierSet(release.requires_python) if release.requires_python else None
            candidates[version] = Candidate(
                name=name,
                version=version,
                source=source or IndexSource(index="default"),
                wheels=wheels,
                sdists=sdists,
                yanked=None if release.yanked is False else "" if release.yanked is True else release.yanked,
                requires_python=requires_python,
            )
        return MemoryOffer(candidates, excluded)

    def metadata(self, candidate: Candidate) -> CandidateMetadata:
        key = (candidate.name, candidate.version)
        found = self._metadata.get(key)
        if found is None:
            self.metadata_asked.append(f"{candidate.name}=={candidate.version}")
            releases = self._packages[candidate.name]
            release = next(r for text, r in releases.items() if Version(text) == candidate.version)
            found = self._metadata[key] = CandidateMetadata(
                name=candidate.name,
                version=candidate.version,
                requires_dist=tuple(map(Requirement, requires_dist(release))),
                requires_python=candidate.requires_python,
                extras=frozenset(map(canonicalize_name, release.extras)),
            )
        return found

    def prefetch_offers(self, names: Iterable[tuple[NormalizedName, Source | None]]) -> None:
        self.prefetched.extend(name for name, _ in names)

    def prefetch_metadata(self, candidates: Iterable[Candidate]) -> None:
        self.prefetched.extend(f"{candidate.name}=={candidate.version}" for candidate in candidates)


def files_of(
    name: str, version: str, release: Release
) -> tuple[tuple[IndexFile, ...], tuple[IndexFile, ...]]:
    """Return the wheels and sdists that a release has."""
    made = [
        IndexFile(filename=n, url=f"memory:{n}", sha256=None, requires_python=release.requires_python)
        for n in file_names(name, version, release)
    ]
    wheels = tuple(file for file in made if file.filename.endswith(".whl"))
    return wheels, tuple(file for file in made if file not in wheels)

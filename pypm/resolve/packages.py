"""The packages that the solver has heard of, and which of their versions can be used where."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field
from packaging.utils import NormalizedName
from packaging.version import Version

from pypm.model.candidate import Candidate, CandidateMetadata
from pypm.model.project import Source
from pypm.resolve.diagram import Cut
from pypm.resolve.lowering import Dependency, Lowering, UnlistedUrlError
from pypm.resolve.markers import lower_bound
from pypm.resolve.partial import ROOT
from pypm.resolve.provider import Offer, Provider, Unavailable
from pypm.resolve.versions import PROPOSITION, VersionList

__all__ = ["ROOT", "Package", "Packages"]


class Package(Struct, kw_only=True):
    """A name at a source, with its versions; or a proposition: the root, an extra of a package."""

    number: int
    name: NormalizedName
    kind: str = "package"
    """"package", "package-extra", and for the project "project", "extra", "group"."""
    extra: NormalizedName | None = None
    base: int = -1
    """Of a package's extra: the package."""
    source: Source | None = None
    versions: VersionList = PROPOSITION
    offer: Offer | None = None
    absence: Unavailable | None = None
    """Why nothing is offered."""
    extras: list[int] = field(default_factory=list)
    """Extras of this package that somebody asked for."""


class Packages:
    """Numbers packages as they are met and keeps what the provider told about them."""

    def __init__(self, provider: Provider, lowering: Lowering, project: NormalizedName) -> None:
        self.provider = provider
        self.lowering = lowering
        self.all: list[Package] = []
        self.bases: list[int] = []
        """Of each package its `base`: read once for every package at every decision."""
        self._numbers: dict[object, int] = {}
        self._metadata: dict[tuple[int, int], CandidateMetadata | Unavailable] = {}
        self._targets: dict[Dependency, int] = {}
        self._allowed: dict[tuple[int, Dependency], int] = {}
        self._bounds: dict[tuple[int, int, bool], Cut | None] = {}
        self._dependencies: dict[tuple[int, int, NormalizedName | None], tuple[Dependency, ...]] = {}
        self.proposition("project", project)

    def proposition(self, kind: str, name: NormalizedName, base: int = -1) -> int:
        """Return the number of an extra or a group; made when it is new."""
        key = (kind, name, base)
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.all)
            parent = self.all[base].name if base >= 0 else name
            self._append(Package(number=found, name=parent, kind=kind, extra=name, base=base))
            if base >= 0:
                self.all[base].extras.append(found)
        return found

    def _append(self, package: Package) -> None:
        self.all.append(package)
        self.bases.append(package.base)

    def target(self, dependency: Dependency) -> int:
        """Return the number of the package that a dependency is on."""
        found = self._targets.get(dependency)
        if found is None:
            found = self._targets[dependency] = self.named(dependency.name, dependency.source)
        return found

    def known(self, dependency: Dependency) -> int | None:
        """Return the number of the package that a dependency is on; None when nobody asked for it so far."""
        found = self._targets.get(dependency)
        return self._numbers.get((dependency.name, dependency.source)) if found is None else found

    def prefetch(self, dependencies: Iterable[Dependency]) -> None:
        """Announce names before the first of them is waited for."""
        new = {(d.name, d.source): None for d in dependencies if d not in self._targets}
        unknown = [key for key in new if key not in self._numbers]
        if unknown:
            self.provider.prefetch_offers(unknown)

    def named(self, name: NormalizedName, source: Source | None) -> int:
        """Return the number of a package; asks the provider for its versions when it is new."""
        key = (name, source)
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.all)
            package = Package(number=found, name=name, source=source)
            try:
                package.offer = self.provider.offer(name, source)
                package.versions = VersionList(package.offer.versions)
            except Unavailable as absence:
                package.absence = absence
                package.versions = VersionList(())
            self._append(package)
        return found

    def allowed(self, number: int, dependency: Dependency) -> int:
        """Return the versions of a package that a dependency admits."""
        key = (number, dependency)
        found = self._allowed.get(key)
        if found is None:
            found = self._allowed[key] = self.all[number].versions.mask(dependency.specifier)
        return found

    def candidate(self, number: int, bit: int) -> Candidate:
        """Return the candidate for one version."""
        package = self.all[number]
        assert package.offer is not None
        return package.offer.candidate(package.versions.version(bit))

    def python_bound(self, number: int, bit: int, *, from_metadata: bool) -> Cut | None:
        """Return the lowest Python of a version, by its files' entries or by its metadata."""
        key = (number, bit, from_metadata)
        if key not in self._bounds:
            found: Candidate | CandidateMetadata | Unavailable
            found = self.metadata(number, bit) if from_metadata else self.candidate(number, bit)
            self._bounds[key] = None if isinstance(found, Unavailable) else lower_bound(found.requires_python)
        return self._bounds[key]

    def is_fetched(self, number: int, bit: int) -> bool:
        """Tell whether the metadata of a version is here already."""
        return (number, bit) in self._metadata

    def version(self, number: int, bit: int) -> Version:
        """Return one version of a package."""
        return self.all[number].versions.version(bit)

    def metadata(self, number: int, bit: int) -> CandidateMetadata | Unavailable:
        """Return the metadata of one version, or why it cannot be had."""
        found = self._metadata.get((number, bit))
        if found is None:
            try:
                found = self.provider.metadata(self.candidate(number, bit))
            except Unavailable as unavailable:
                found = unavailable
            self._metadata[(number, bit)] = found
        return found

    def dependencies(
        self, number: int, bit: int, extra: NormalizedName | None = None
    ) -> tuple[Dependency, ...] | Unavailable:
        """Return what one version requires (or one of its extras adds), or why the version cannot be used."""
        key = (number, bit, extra)
        found = self._dependencies.get(key)
        if found is None:
            metadata = self.metadata(number, bit)
            if isinstance(metadata, Unavailable):
                return metadata
            try:
                found = self.lowering.of_package(metadata, extra)
            except UnlistedUrlError as error:
                hint = f"add `{error.name} @ {error.url}` to the project's own dependencies"
                return Unavailable(f"{error}, which the project does not list", hint=hint)
            self._dependencies[key] = found
        return found

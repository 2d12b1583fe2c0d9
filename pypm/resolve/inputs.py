"""What a resolution starts from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from msgspec import Struct, field
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName
from packaging.version import Version

from pypm.model.project import IndexSource, ResolutionSettings, Source
from pypm.model.target import Target


class Preference(Struct, frozen=True, kw_only=True):
    """A version that an earlier answer holds: kept wherever the requirements still allow it."""

    version: Version
    marker: Marker | None = None
    """The part of the universe that the earlier answer used it in."""
    source: Source | None = None
    """Where the earlier answer took it from; None where that is not known."""

    def is_from(self, source: Source | None) -> bool:
        """Whether it says anything on a package that comes from `source`: the version of another index may be
        another thing, and lack the files of the platform."""
        asked, kept = source, self.source
        named = isinstance(asked, IndexSource) and isinstance(kept, IndexSource)
        return not named or asked.index == kept.index  # type: ignore[union-attr]


def nowhere(name: NormalizedName, extras: tuple[NormalizedName, ...], versions: SpecifierSet) -> None:
    """Know no place."""


class Inputs(Struct, frozen=True, kw_only=True):
    """The question. Equal questions, in whatever order their parts are written, have equal answers."""

    project: NormalizedName
    requires_python: SpecifierSet
    dependencies: tuple[Requirement, ...] = ()
    extras: Mapping[NormalizedName, tuple[Requirement, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    groups: Mapping[NormalizedName, tuple[Requirement, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    sources: Mapping[NormalizedName, tuple[Source, ...]] = field(default_factory=lambda: MappingProxyType({}))
    settings: ResolutionSettings = field(default_factory=ResolutionSettings)
    preferences: Mapping[NormalizedName, tuple[Preference, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """Pins of the existing lock."""
    regions: tuple[Marker, ...] = ()
    """Fork regions of the existing lock: solving them one by one again is what makes relocking stable."""
    upgrade: frozenset[NormalizedName] = frozenset()
    """Packages whose preferences are forgotten."""
    upgrade_all: bool = False
    """Forget every preference and the regions."""
    place: Callable[[NormalizedName, tuple[NormalizedName, ...], SpecifierSet], str | None] = nowhere
    """Tells where the user wrote a requirement (`pyproject.toml:12`); asked only for explanations."""
    subject: str = "your project"
    """Who requires the dependencies, as explanations say it."""
    environment: Target | None = None
    """Resolve for this one environment instead of the universe; `requires_python` is then not looked at."""

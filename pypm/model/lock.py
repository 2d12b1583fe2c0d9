"""The lock: what `pypm.lock` says, field by field (PEP 751's names and meaning where they exist)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct, field
from packaging.markers import Marker
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName

from pypm.model.artifact import LockedArtifact, Sha256
from pypm.model.project import Source

LOCK_VERSION = 1
"""The newest lock format that this pypm writes and reads."""


class LockedDependency(Struct, frozen=True, kw_only=True):
    """An edge of the locked graph; informative (`tree`, `why`): installation reads package markers alone."""

    name: NormalizedName
    version: str | None = None
    """Given only where several pins of that name stand side by side."""
    marker: Marker | None = None
    extras: tuple[NormalizedName, ...] = ()
    extra: NormalizedName | None = None
    """Set when the edge exists only under this extra of the parent."""


class LockedPackage(Struct, frozen=True, kw_only=True):
    """One pin with its artifacts."""

    name: NormalizedName
    version: str | None
    """None for a source tree whose version is dynamic."""
    source: Source
    marker: Marker | None = None
    requires_python: SpecifierSet | None = None
    dependencies: tuple[LockedDependency, ...] = ()
    sdist: LockedArtifact | None = None
    wheels: tuple[LockedArtifact, ...] = ()
    yanked: str | None = None


class LockedIndex(Struct, frozen=True, kw_only=True):
    """An index by name. The default index is locked by name alone, so a mirror needs no new lock."""

    name: str
    url: str | None = None


class PluginBuild(Struct, frozen=True, kw_only=True):
    """The bytes of a plugin that are vouched for."""

    sha256: Sha256
    """Of the shared library, or over the sources that come with pypm."""
    filename: str
    """Without its folder: where it lies differs from machine to machine."""
    origin: str
    """Where it was found when it was locked (`project`, `user`, `system`, `pypm`); informative."""
    platform: str | None = None
    """`linux-x86_64`, with `-musl` where that is the C library; None for sources, which serve every one."""


class LockedPlugin(Struct, frozen=True, kw_only=True):
    """One plugin that the project uses."""

    name: str
    package: NormalizedName | None = None
    """The locked package that brings it: its artifacts' hashes vouch for it, so it has no builds."""
    builds: tuple[PluginBuild, ...] = ()
    """At most one for each platform."""


class Lock(Struct, frozen=True, kw_only=True):
    """The whole lock. Two locks with equal content serialise to equal bytes."""

    content_hash: Sha256
    """Over the canonical inputs: what the project asked for."""
    requires_python: SpecifierSet
    packages: tuple[LockedPackage, ...]
    """Sorted by (name, version, source)."""
    environments: tuple[Marker, ...] = ()
    forks: tuple[Marker, ...] = ()
    extras: tuple[NormalizedName, ...] = ()
    dependency_groups: tuple[NormalizedName, ...] = ()
    default_groups: tuple[NormalizedName, ...] = ()
    indexes: tuple[LockedIndex, ...] = ()
    root_dependencies: tuple[LockedDependency, ...] = ()
    extra_dependencies: Mapping[NormalizedName, tuple[LockedDependency, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    group_dependencies: Mapping[NormalizedName, tuple[LockedDependency, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    plugins: tuple[LockedPlugin, ...] = ()
    strategy: str = "highest"
    """Which versions were chosen, as `ResolutionSettings` has it: what another one chose does not stay."""
    prerelease: str = "if-necessary"
    """When pre-releases could be chosen, likewise."""
    exclude_newer: str | None = None
    """The date limit the lock was made under, absolute, so that a duration in the project stays stable."""

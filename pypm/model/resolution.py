"""The resolver's answer: pins for every environment of the universe, and the edges between them."""

from __future__ import annotations

from msgspec import Struct
from packaging.markers import Marker
from packaging.utils import NormalizedName

from pypm.model.candidate import Candidate, CandidateMetadata


class Edge(Struct, frozen=True, kw_only=True):
    """A dependency of a pin, after forks are merged."""

    name: NormalizedName
    version: str
    """Which pin of that name; several may stand side by side."""
    marker: Marker | None
    """When the edge holds, simplified against the parent's own marker; None means always."""
    extras: tuple[NormalizedName, ...] = ()
    """Extras of the dependency that this edge asks for."""
    extra: NormalizedName | None = None
    """Set when the edge exists only under this extra of the parent."""


class Pin(Struct, frozen=True, kw_only=True):
    """One chosen version, with where it holds."""

    candidate: Candidate
    metadata: CandidateMetadata
    marker: Marker | None
    """PEP 751 marker: platform conditions joined with `'x' in extras` / `'y' in dependency_groups`, so that
    evaluating it alone decides whether the package is installed. None means always."""
    edges: tuple[Edge, ...]


class Resolution(Struct, frozen=True, kw_only=True):
    """Pins sorted by (name, version); fork regions as markers, kept so that relocking is stable."""

    pins: tuple[Pin, ...]
    forks: tuple[Marker, ...] = ()
    root_edges: tuple[Edge, ...] = ()
    """The project's own dependencies."""
    extra_edges: tuple[tuple[NormalizedName, tuple[Edge, ...]], ...] = ()
    group_edges: tuple[tuple[NormalizedName, tuple[Edge, ...]], ...] = ()

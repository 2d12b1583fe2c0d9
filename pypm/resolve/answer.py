"""From solved regions to the answer: pins, edges and the markers on them."""

from __future__ import annotations

from msgspec import Struct, field
from packaging.markers import Marker
from packaging.utils import NormalizedName

from pypm.model.candidate import CandidateMetadata
from pypm.model.resolution import Edge, Pin, Resolution
from pypm.resolve.diagram import FALSE
from pypm.resolve.marker_text import simplified
from pypm.resolve.packages import Package
from pypm.resolve.reach import Graph, Link
from pypm.resolve.universal import Solved, UniversalSolver

Key = tuple[int, int]
"""(package, version bit): a pin."""


class Region(Struct):
    """A solved region reduced to what is reached in it."""

    region: int
    reached: dict[int, int]
    decided: dict[int, int]
    links: dict[int, tuple[Link, ...]] = field(default_factory=dict)


class Answer:
    """Merges regions and writes the result."""

    def __init__(self, solver: UniversalSolver, solved: list[Solved]) -> None:
        self._solver = solver
        self._markers = solver.markers
        self._diagram = solver.markers.diagram
        self._regions = [self._reduced(part) for part in solved]
        self._said: dict[tuple[int, int], Marker | None] = {}
        """Markers by node and what is cared for: hundreds of edges share the same."""
        self._where: dict[Key, int] = {}
        """Where each pin is installed."""
        self._edges: dict[tuple[int, int], dict[tuple[object, ...], int]] = {}
        """(parent, its version bit or 0) to (child, version bit, extra of the child) to where the edge
        holds."""
        for part in self._regions:
            self._add(part)

    def _reduced(self, part: Solved) -> Region:
        graph = Graph(self._markers, self._solver.packages, self._solver.batches, part.decided)
        reached = graph.reached(part.region)
        links = {number: tuple(graph.links(number)) for number in reached}
        return Region(part.region, reached, part.decided, links)

    def _add(self, part: Region) -> None:
        packages = self._solver.packages.all
        for number, where in part.reached.items():
            package = packages[number]
            if package.kind == "package":
                key = (number, part.decided[number])
                self._where[key] = self._diagram.disjoin(self._where.get(key, FALSE), where)
            base = package.base if package.kind == "package-extra" else number
            bit = part.decided.get(base, 0) if packages[base].kind == "package" else 0
            table = self._edges.setdefault((number, bit), {})
            for link in part.links[number]:
                child = packages[link.child]
                holds = self._diagram.conjoin(where, link.guard)
                if holds == FALSE:
                    continue
                target = child.base if child.kind == "package-extra" else link.child
                extra = child.extra if child.kind == "package-extra" else None
                edge = (target, part.decided[target], extra)
                table[edge] = self._diagram.disjoin(table.get(edge, FALSE), holds)

    def resolution(self) -> Resolution:
        """Return the pins by name and version, with the edges between them."""
        pins = sorted(
            (self._pin(key, where) for key, where in self._where.items()),
            key=lambda pin: (pin.candidate.name, pin.candidate.version, repr(pin.candidate.source)),
        )
        packages = self._solver.packages
        tables: dict[str, list[tuple[NormalizedName, tuple[Edge, ...]]]] = {"extra": [], "group": []}
        root: tuple[Edge, ...] = ()
        for batch in self._solver.batches:
            number = packages.proposition(batch.kind, batch.name)
            care = self._diagram.conjoin(self._solver.universe, batch.guard)
            edges = self._written(number, 0, care, None)
            if batch.kind == "project":
                root = edges
            else:
                tables[batch.kind].append((batch.name, edges))
        return Resolution(
            pins=tuple(pins),
            forks=self._forks(),
            root_edges=root,
            extra_edges=tuple(tables["extra"]),
            group_edges=tuple(tables["group"]),
        )

    def _marker(self, where: int, care: int) -> Marker | None:
        key = (where, care)
        if key not in self._said:
            self._said[key] = simplified(self._markers, where, care)
        return self._said[key]

    def _pin(self, key: Key, where: int) -> Pin:
        packages = self._solver.packages
        number, bit = key
        metadata = packages.metadata(number, bit)
        assert isinstance(metadata, CandidateMetadata)
        edges = list(self._written(number, bit, where, None))
        for proposition in packages.all[number].extras:
            care = FALSE
            for part in self._regions:
                if part.decided.get(number) == bit and proposition in part.reached:
                    care = self._diagram.disjoin(care, part.reached[proposition])
            edges += self._written(proposition, bit, care, packages.all[proposition].extra)
        return Pin(
            candidate=packages.candidate(number, bit),
            metadata=metadata,
            marker=self._marker(where, self._solver.universe),
            edges=tuple(sorted(edges, key=_edge_order)),
        )

    def _written(self, parent: int, bit: int, care: int, extra: NormalizedName | None) -> tuple[Edge, ...]:
        """Write the edges of a node; extras asked for under the same condition share an edge."""
        table = self._edges.get((parent, bit), {})
        packages = self._solver.packages
        names: dict[tuple[int, str, str], tuple[Package, str, Marker | None, list[NormalizedName]]] = {}
        for (child, child_bit, child_extra), where in table.items():
            assert isinstance(child, int)
            assert isinstance(child_bit, int)
            marker = self._marker(where, care)
            version = str(packages.version(child, child_bit))
            row = names.setdefault((child, version, str(marker)), (packages.all[child], version, marker, []))
            if child_extra is not None:
                row[3].append(child_extra)  # type: ignore[arg-type]
        edges = [
            Edge(
                name=package.name,
                version=version,
                marker=marker,
                extras=tuple(sorted(extras)),
                extra=extra,
            )
            for package, version, marker, extras in names.values()
        ]
        return tuple(sorted(edges, key=_edge_order))

    def _forks(self) -> tuple[Marker, ...]:
        """Return the regions of the answer in the order of solving; none when there is but one.

        Regions are one as long as no package has two versions in them: a fork that made no difference in
        the end is none. Solving such a region again, with its pins as preferences, finds the same pins.
        """
        groups: list[tuple[dict[NormalizedName, Key], int]] = []
        for part in self._regions:
            pins = self._pins_of(part)
            for i, (others, region) in enumerate(groups):
                if all(others.get(name, key) == key for name, key in pins.items()):
                    groups[i] = ({**others, **pins}, self._diagram.disjoin(region, part.region))
                    break
            else:
                groups.append((pins, part.region))
        texts = [self._marker(region, self._solver.universe) for _, region in groups]
        return tuple(text for text in texts if text is not None)

    def _pins_of(self, part: Region) -> dict[NormalizedName, Key]:
        packages = self._solver.packages.all
        return {
            packages[number].name: (number, part.decided[number])
            for number in part.reached
            if packages[number].kind == "package"
        }


def _edge_order(edge: Edge) -> tuple[str, str, str, str]:
    return edge.extra or "", edge.name, edge.version, str(edge.marker)

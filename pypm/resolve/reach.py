"""Which pin is reached from the project, and where: the markers of a lock are paths through its graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from pypm.resolve.diagram import FALSE
from pypm.resolve.lowering import Dependency, RootBatch
from pypm.resolve.markers import Markers
from pypm.resolve.packages import ROOT, Packages
from pypm.resolve.provider import Unavailable


class Link(Struct, frozen=True):
    """An edge of the solved graph, from a package or proposition to a package or one of its extras."""

    parent: int
    child: int
    guard: int
    dependency: Dependency


class Graph:
    """The graph of one set of decisions."""

    def __init__(
        self,
        markers: Markers,
        packages: Packages,
        batches: tuple[RootBatch, ...],
        decided: Mapping[int, int],
    ) -> None:
        self._markers = markers
        self._packages = packages
        self._batches = {packages.proposition(batch.kind, batch.name): batch for batch in batches}
        self._decided = decided

    def links(self, parent: int) -> Iterator[Link]:
        """Yield what a decided package, one of its extras, or the project requires."""
        for dependency in self._dependencies(parent):
            if dependency.is_constraint:
                continue
            child = self._packages.known(dependency)
            if child is None or child not in self._decided:
                continue
            yield Link(parent, child, dependency.guard, dependency)
            for extra in dependency.extras:
                proposition = self._packages.proposition("package-extra", extra, child)
                yield Link(parent, proposition, dependency.guard, dependency)

    def _dependencies(self, parent: int) -> tuple[Dependency, ...]:
        if parent in self._batches:
            return self._batches[parent].dependencies
        package = self._packages.all[parent]
        base = package.base if package.kind == "package-extra" else parent
        if base not in self._decided:
            return ()
        found = self._packages.dependencies(base, self._decided[base], package.extra)
        return () if isinstance(found, Unavailable) else found

    def reached(self, region: int, *, stop: int = -1) -> dict[int, int]:
        """Return, for every package and extra that is reached inside the region, where that is.

        The dependencies of `stop` are not followed: it is not decided yet.


        A fixed point over a graph that may have cycles: a node is visited again whenever its part grows.
        """
        diagram = self._markers.diagram
        found = {ROOT: region}
        queue: dict[int, None] = {ROOT: None}
        for number, batch in self._batches.items():
            where = diagram.conjoin(region, batch.guard)
            if where != FALSE:
                found[number] = where
                queue[number] = None
        links: dict[int, tuple[Link, ...]] = {}
        while queue:
            parent = next(iter(queue))
            del queue[parent]
            if parent == stop:
                continue
            if parent not in links:
                links[parent] = tuple(self.links(parent))
            for link in links[parent]:
                before = found.get(link.child, FALSE)
                after = diagram.disjoin(before, diagram.conjoin(found[parent], link.guard))
                if after != before:
                    found[link.child] = after
                    queue[link.child] = None
        return found

"""Conflict-driven forks: when a region has no solution, the guards of the requirements in the proof part it.

Two packages that require different versions of a third one, each on another platform, contradict each other
as long as both platforms are solved at once. The proof of the contradiction names the requirements, and a
requirement that holds in a part of the region only is where to part it.
"""

from __future__ import annotations

from collections.abc import Iterator

from pypm.resolve.diagram import FALSE
from pypm.resolve.incompatibility import FromConflict, FromDependency, Incompatibility
from pypm.resolve.markers import Markers


def leaves(root: Incompatibility) -> Iterator[Incompatibility]:
    """Yield the premises of a derivation, each once, from left to right."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current.cause, FromConflict):
            stack += [current.cause.right, current.cause.left]
        else:
            yield current


def split_on_guard(markers: Markers, region: int, root: Incompatibility) -> list[int]:
    """Return the parts of a region that has no solution as a whole; none when parting it cannot help.

    A premise whose guard lies outside the region is left from a wider region that this one was parted from:
    then the region itself is worth another try without it.
    """
    diagram = markers.diagram
    parting: list[int] = []
    for leaf in leaves(root):
        if not isinstance(leaf.cause, FromDependency):
            continue
        inside = diagram.conjoin(region, leaf.cause.dependency.guard)
        if inside == FALSE:
            return [region]
        if inside != region:
            parting.append(inside)
    if not parting:
        return []
    return [diagram.difference(region, parting[0]), parting[0]]

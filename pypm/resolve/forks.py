"""Where the universe is parted: by siblings of one name, by a raised Python bound.

The rules are those of uv, on purpose: a fork decides which versions are found, and a project that changes
its tool should not change its versions. Source: uv's documentation, "Resolver internals", section
"Forking".
"""

from __future__ import annotations

from itertools import groupby

from msgspec import Struct

from pypm.resolve.diagram import FALSE, TRUE
from pypm.resolve.lowering import Dependency
from pypm.resolve.markers import Markers

LOWEST_CUT = ((), -1)
"""Sorts before every Python cut."""


class Branch(Struct):
    """A part of the region and the dependencies that hold in it."""

    region: int
    dependencies: tuple[Dependency, ...]


def raises_python(markers: Markers, region: int, guard: int) -> bool:
    """Tell whether a guard admits only Pythons above the lowest one of the region."""
    floor = markers.python_floor(markers.diagram.conjoin(region, guard))
    return floor is not None and floor > (markers.python_floor(region) or LOWEST_CUT)


def branches(
    markers: Markers, region: int, dependencies: tuple[Dependency, ...], *, low_first: bool
) -> list[Branch]:
    """Part a region by the dependencies of one version, given in order of their names.

    The last branch is to be solved first. With `low_first`, that is the one with the lowest Python, whose
    versions are the likeliest to serve the others too; otherwise the highest, so that each Python gets its
    newest versions.
    """
    if all(dependency.guard == TRUE for dependency in dependencies):
        return [Branch(region, dependencies)]
    diagram = markers.diagram
    found = [Branch(region, ())]
    holding = [dependency for dependency in dependencies if not diagram.disjoint(region, dependency.guard)]
    for _, group in groupby(holding, key=lambda dependency: dependency.name):
        siblings = tuple(group)
        guards = {diagram.conjoin(region, dependency.guard) for dependency in siblings}
        parts = len(guards) > 1 or raises_python(markers, region, siblings[0].guard)
        for dependency in siblings:
            if not parts or diagram.implies(region, dependency.guard):
                for branch in found:
                    if not diagram.disjoint(branch.region, dependency.guard):
                        branch.dependencies = (*branch.dependencies, dependency)
            else:
                found = _part(markers, found, dependency)
    found.sort(key=_upper_bounds)
    found.sort(key=lambda branch: markers.python_floor(branch.region) or LOWEST_CUT, reverse=low_first)
    return found


def _part(markers: Markers, found: list[Branch], dependency: Dependency) -> list[Branch]:
    diagram = markers.diagram
    remaining = dependency.guard
    result: list[Branch] = []
    for branch in found:
        inside = diagram.conjoin(branch.region, remaining)
        if inside == FALSE:
            result.append(branch)
            continue
        outside = diagram.difference(branch.region, remaining)
        for region in (outside, inside):
            if region == FALSE:
                continue
            kept = tuple(d for d in branch.dependencies if not diagram.disjoint(region, d.guard))
            if not diagram.disjoint(region, dependency.guard):
                kept = (*kept, dependency)
            result.append(Branch(region, kept))
        remaining = diagram.difference(remaining, branch.region)
    return result


def _upper_bounds(branch: Branch) -> int:
    """Count dependencies with an upper bound: their fork finds versions that the other fork can use as
    well."""
    return sum(
        any(specifier.operator in ("<", "<=", "==", "~=", "===") for specifier in dependency.specifier)
        for dependency in branch.dependencies
    )

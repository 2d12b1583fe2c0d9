"""Which environments the answer is for, and which regions of them are solved apart from the start."""

from __future__ import annotations

from pypm.resolve.diagram import FALSE, TRUE
from pypm.resolve.forks import LOWEST_CUT
from pypm.resolve.inputs import Inputs
from pypm.resolve.markers import EXTRAS_RANK, GROUPS_RANK, Markers


def universe_of(inputs: Inputs, markers: Markers) -> int:
    """Return every environment that the answer is for, as a node.

    Extras that are declared to conflict are never asked for together, so no environment has both.
    """
    diagram = markers.diagram
    node = TRUE
    if inputs.environment is None:
        node = diagram.conjoin(markers.world(), markers.admits(inputs.requires_python))
    for conflict in inputs.settings.conflicts:
        switches = [_switch(markers, item) for item in conflict]
        for i, first in enumerate(switches):
            for second in switches[i + 1 :]:
                node = diagram.difference(node, diagram.conjoin(first, second))
    if not inputs.settings.environments:
        return node
    narrowed = FALSE
    for marker in inputs.settings.environments:
        narrowed = diagram.disjoin(narrowed, markers.parse(marker))
    return diagram.conjoin(node, narrowed)


def first_regions(inputs: Inputs, markers: Markers, universe: int, *, low_first: bool) -> list[int]:
    """Return the regions to begin with, the one to solve first first; together they are the universe.

    They are the old lock's, in its order, or else the declared environments; conflicts part them further.
    """
    diagram = markers.diagram
    if inputs.regions and not inputs.upgrade_all:
        parts = [markers.parse(marker) for marker in inputs.regions]
    else:
        parts = [markers.parse(marker) for marker in sorted(inputs.settings.environments, key=str)]
        parts.sort(key=lambda part: markers.python_floor(part) or LOWEST_CUT, reverse=not low_first)
    regions: list[int] = []
    rest = universe
    for part in (*parts, TRUE):
        region = diagram.conjoin(rest, part)
        rest = diagram.difference(rest, part)
        if region != FALSE:
            regions.append(region)
    for item in (item for conflict in inputs.settings.conflicts for item in conflict):
        switch = _switch(markers, item)
        regions = [
            region
            for whole in regions
            for region in (diagram.conjoin(whole, switch), diagram.difference(whole, switch))
            if region != FALSE
        ]
    return regions


def _switch(markers: Markers, item: str) -> int:
    """Return the node of `extra:NAME` or `group:NAME`."""
    kind, _, name = item.partition(":")
    return markers.diagram.switch((GROUPS_RANK if kind == "group" else EXTRAS_RANK, name))

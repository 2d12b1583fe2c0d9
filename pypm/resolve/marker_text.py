"""From a node of the marker algebra back to the text of a marker, as short as it can be said.

The text is a disjunction of conjunctions. It need only be right inside the `care` set (the environments
that the project admits), so that a project for Python 3.10 and later never reads `python_version >= '3.10'`
in its lock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from packaging.markers import Marker

from pypm.resolve.diagram import FALSE, TRUE, Cut, Variable
from pypm.resolve.markers import EXTRA_RANK, EXTRAS_RANK, GROUPS_RANK, OPAQUE_RANK, PYTHON, Markers, following

NEVER = "python_version < '0'"

MOST_SHORTENED = 200
"""Values, of all conjunctions together. What is made of more is written as it stands: nobody reads it, and to
find what may be left out takes the square of their number and more."""

Interval = tuple[Cut | None, Cut | None]
Literal = tuple[str, tuple[object, ...]]
"""("range", (lower, upper)), ("is", (value,)), ("not", values) or ("switch", (on,))."""
Cube = dict[Variable, Literal]
"""A conjunction: one literal a variable."""


def simplified(markers: Markers, node: int, care: int) -> Marker | None:
    """Return a marker that equals `node` wherever `care` is true; None when that is everywhere."""
    text = marker_text(markers, node, care)
    return None if text is None else Marker(text)


def marker_text(markers: Markers, node: int, care: int) -> str | None:
    """Return the text for `node` inside `care`; None when it holds everywhere there."""
    diagram = markers.diagram
    if diagram.implies(care, node):
        return None
    if diagram.disjoint(care, node):
        return NEVER
    reduced = diagram.simplify(node, care)
    # Wherever `care` is false, the text may say what it likes: that is what makes it short.
    allowed = diagram.disjoin(node, diagram.negate(care))
    cubes = [*_cubes(markers, reduced)]
    if sum(len(values) for cube in cubes for _, values in cube.values()) <= MOST_SHORTENED:
        cubes = [_widen(markers, cube, allowed) for cube in cubes]
        cubes = _irredundant(markers, cubes, diagram.conjoin(node, care))
    rows = [" and ".join(_literals(markers, cube)) for cube in cubes]
    texts = list(dict.fromkeys(rows))
    if len(texts) == 1:
        return texts[0]
    return " or ".join(f"({text})" if " and " in text else text for text in texts)


def _cubes(markers: Markers, node: int) -> Iterator[Cube]:
    if node == FALSE:
        return
    if node == TRUE:
        yield {}
        return
    variable, cuts, children = markers.diagram.parts(node)
    places: dict[int, list[int]] = {}
    for place, child in enumerate(children):
        places.setdefault(child, []).append(place)
    for child, own in places.items():
        if child == FALSE:
            continue
        for literal in _choices(variable, cuts, children, own):
            for rest in _cubes(markers, child):
                yield {variable: literal, **rest}


def _choices(
    variable: Variable, cuts: tuple[Cut, ...], children: tuple[int, ...], places: list[int]
) -> list[Literal]:
    """Say as literals for which values of the variable a node continues with the child at these places."""
    if variable[0] >= OPAQUE_RANK:
        return [("switch", (1 in places,))]
    bounds = (None, *cuts, None)
    intervals: list[Interval] = [(bounds[place], bounds[place + 1]) for place in places]
    if variable == PYTHON:
        return [("range", interval) for interval in intervals]
    if intervals[0][0] is None:
        # The cell of all unnamed values belongs to it, so it is said by what is left out.
        child = children[places[0]]
        values = dict.fromkeys(cut[0] for cut in cuts)
        return [("not", tuple(v for v in values if children[bisect_right(cuts, (v, 0))] != child))]
    return [("is", (lower[0],)) for lower, upper in intervals if lower and upper and lower[0] == upper[0]]


def _node(markers: Markers, cube: Cube) -> int:
    node = TRUE
    for variable, (kind, values) in cube.items():
        node = markers.diagram.conjoin(node, _literal_node(markers, variable, kind, values))
    return node


def _literal_node(markers: Markers, variable: Variable, kind: str, values: tuple[object, ...]) -> int:
    diagram = markers.diagram
    if kind == "range":
        lower, upper = values
        return diagram.interval(variable, lower, upper)  # type: ignore[arg-type]
    if kind == "switch":
        node = diagram.switch(variable)
        return node if values[0] else diagram.negate(node)
    node = FALSE
    for value in values:
        node = diagram.disjoin(node, diagram.interval(variable, (value, 0), (value, 1)))
    return diagram.negate(node) if kind == "not" else node


def _weaker(literal: Literal) -> Iterator[Literal | None]:
    """Yield what a literal can be replaced by, the weakest first; None drops it."""
    yield None
    kind, values = literal
    if kind == "range" and None not in values:
        yield ("range", (None, values[1]))
        yield ("range", (values[0], None))
    elif kind == "not" and len(values) > 1:
        for value in values:
            yield ("not", tuple(other for other in values if other != value))


def _widen(markers: Markers, cube: Cube, allowed: int) -> Cube:
    """Weaken the literals of a conjunction as far as it stays inside `allowed`."""
    for variable in sorted(cube, reverse=True):
        again = True
        while again and variable in cube:
            again = False
            for literal in _weaker(cube[variable]):
                trial = {name: kept for name, kept in cube.items() if name != variable}
                if literal is not None:
                    trial[variable] = literal
                if markers.diagram.implies(_node(markers, trial), allowed):
                    cube = trial
                    again = literal is not None
                    break
    return cube


def _irredundant(markers: Markers, cubes: list[Cube], wanted: int) -> list[Cube]:
    """Drop every conjunction that the others cover, the longest first."""
    diagram = markers.diagram
    kept = {repr(sorted(cube.items(), key=repr)): cube for cube in cubes}
    order = sorted(kept, key=lambda text: len(kept[text]), reverse=True)
    nodes = [_node(markers, kept[text]) for text in order]
    to_come = [FALSE]
    for node in reversed(nodes[1:]):
        to_come.append(diagram.disjoin(to_come[-1], node))
    covered = FALSE
    for text, node, rest in zip(order, nodes, reversed(to_come), strict=True):
        if len(kept) > 1 and diagram.implies(wanted, diagram.disjoin(covered, rest)):
            del kept[text]
        else:
            covered = diagram.disjoin(covered, node)
    return list(kept.values())


def _literals(markers: Markers, cube: Cube) -> Iterator[str]:
    for variable in sorted(cube):
        kind, values = cube[variable]
        if kind == "range":
            lower, upper = values
            yield from _range_text(lower, upper)  # type: ignore[arg-type]
        elif kind == "switch":
            yield _switch_text(markers, variable, on=bool(values[0]))
        else:
            operator = "==" if kind == "is" else "!="
            yield from (f"{variable[1]} {operator} {_quoted(str(value))}" for value in values)


def _switch_text(markers: Markers, variable: Variable, *, on: bool) -> str:
    rank, name = variable
    if rank == OPAQUE_RANK:
        return markers.opaque_texts[name][0 if on else 1]
    if rank == EXTRA_RANK:
        return f"extra {'==' if on else '!='} {_quoted(name)}"
    container = {EXTRAS_RANK: "extras", GROUPS_RANK: "dependency_groups"}[rank]
    return f"{_quoted(name)} {'in' if on else 'not in'} {container}"


def _quoted(value: str) -> str:
    return f'"{value}"' if "'" in value else f"'{value}'"


def _range_text(lower: Cut | None, upper: Cut | None) -> Iterator[str]:
    if lower and upper and lower[0] == upper[0]:
        yield f"python_full_version == '{_release_text(lower[0], 3)}'"
        return
    if lower and upper and len(lower[0]) <= 2 and lower[1] == upper[1] == 0:
        series = (*lower[0], 0)[:2]
        if following(series) == upper[0]:
            yield f"python_version == '{_release_text(series, 2)}'"
            return
    if lower:
        yield _bound_text(lower, ">=", ">")
    if upper:
        yield _bound_text(upper, "<", "<=")


def _bound_text(cut: Cut, before: str, after: str) -> str:
    release, side = cut
    if side == 0 and len(release) <= 2:
        return f"python_version {before} '{_release_text(release, 2)}'"
    return f"python_full_version {after if side else before} '{_release_text(release, 3)}'"


def _release_text(release: tuple[int, ...], width: int) -> str:
    return ".".join(str(number) for number in (*release, *[0] * (width - len(release))))

"""The algebra of decision diagrams: the laws of sets, and one node for one function."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from pypm.resolve.diagram import FALSE, TRUE, Diagram

NUMBER = (0, "number")
COLOUR = (1, "colour")
LAMP = (9, "lamp")
NUMBERS = range(6)
COLOURS = ("amber", "blue", "cyan", "zinc")
POINTS = list(product(NUMBERS, COLOURS, (False, True)))
"""Enough values to tell all atoms below apart, with one number and one colour that no atom names."""

Expression = tuple
"""("range", low, high), ("colour", name), ("lamp",), ("not", x), ("and", x, y), ("or", x, y)."""

atoms = st.one_of(
    st.tuples(st.just("range"), st.sampled_from([None, 1, 2, 4]), st.sampled_from([None, 2, 3, 5])),
    st.tuples(st.just("colour"), st.sampled_from(COLOURS[:3])),
    st.just(("lamp",)),
)
expressions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.just("and"), inner, inner),
        st.tuples(st.just("or"), inner, inner),
    ),
    max_leaves=10,
)


def build(diagram: Diagram, expression: Expression) -> int:
    kind, *rest = expression
    if kind == "range":
        low, high = rest
        return diagram.interval(
            NUMBER, None if low is None else (low, 0), None if high is None else (high, 0)
        )
    if kind == "colour":
        return diagram.interval(COLOUR, (rest[0], 0), (rest[0], 1))
    if kind == "lamp":
        return diagram.switch(LAMP)
    parts = [build(diagram, part) for part in rest]
    return {"not": diagram.negate, "and": diagram.conjoin, "or": diagram.disjoin}[kind](*parts)


def holds(expression: Expression, point: tuple[int, str, bool]) -> bool:
    kind, *rest = expression
    number, colour, lamp = point
    if kind == "range":
        low, high = rest
        return (low is None or number >= low) and (high is None or number < high)
    if kind == "colour":
        return colour == rest[0]
    if kind == "lamp":
        return lamp
    values = [holds(part, point) for part in rest]
    return {"not": lambda: not values[0], "and": lambda: all(values), "or": lambda: any(values)}[kind]()


def truth(expression: Expression) -> tuple[bool, ...]:
    return tuple(holds(expression, point) for point in POINTS)


def evaluate(diagram: Diagram, node: int, point: tuple[int, str, bool]) -> bool:
    values = {NUMBER: (point[0], 0), COLOUR: (point[1], 0), LAMP: ("", 0 if point[2] else -1)}
    while node > TRUE:
        variable, cuts, children = diagram.parts(node)
        node = children[sum(cut <= values[variable] for cut in cuts)]
    return node == TRUE


@given(expressions)
def test_a_node_is_true_exactly_where_its_expression_is(expression: Expression) -> None:
    diagram = Diagram()
    node = build(diagram, expression)
    assert tuple(evaluate(diagram, node, point) for point in POINTS) == truth(expression)


@given(expressions, expressions)
def test_equal_functions_are_one_node(left: Expression, right: Expression) -> None:
    diagram = Diagram()
    assert (build(diagram, left) == build(diagram, right)) == (truth(left) == truth(right))


@given(expressions, expressions)
def test_implication_and_disjointness_are_those_of_sets(left: Expression, right: Expression) -> None:
    diagram = Diagram()
    a, b = build(diagram, left), build(diagram, right)
    pairs = list(zip(truth(left), truth(right), strict=True))
    assert diagram.implies(a, b) == all(not x or y for x, y in pairs)
    assert diagram.disjoint(a, b) == (not any(x and y for x, y in pairs))
    assert diagram.difference(a, b) == diagram.conjoin(a, diagram.negate(b))


@given(expressions, expressions)
def test_simplification_changes_nothing_inside_the_care_set(left: Expression, right: Expression) -> None:
    diagram = Diagram()
    node, care = build(diagram, left), build(diagram, right)
    simple = diagram.simplify(node, care)
    assert diagram.conjoin(simple, care) == diagram.conjoin(node, care)


@given(expressions, st.booleans())
def test_assigning_a_switch_removes_it(expression: Expression, value: bool) -> None:
    diagram = Diagram()
    node = diagram.assign(build(diagram, expression), LAMP[0], {LAMP[1]: value})
    expected = tuple(holds(expression, (number, colour, value)) for number, colour, _ in POINTS)
    assert tuple(evaluate(diagram, node, point) for point in POINTS) == expected


def test_the_order_of_discovery_does_not_change_the_shape() -> None:
    first, second = Diagram(), Diagram()
    lamp, colour = first.switch(LAMP), first.interval(COLOUR, ("blue", 0), ("blue", 1))
    other_colour, other_lamp = second.interval(COLOUR, ("blue", 0), ("blue", 1)), second.switch(LAMP)
    one = first.parts(first.conjoin(lamp, colour))
    two = second.parts(second.conjoin(other_lamp, other_colour))
    assert one[:2] == two[:2] == (COLOUR, (("blue", 0), ("blue", 1)))


def test_an_empty_interval_is_false() -> None:
    diagram = Diagram()
    assert diagram.interval(NUMBER, (3, 0), (2, 0)) == FALSE
    assert diagram.interval(NUMBER, None, None) == TRUE

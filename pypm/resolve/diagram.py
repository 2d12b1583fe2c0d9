"""Interned decision diagrams: the algebra under environment markers.

A marker is a function from environments to true or false. Here it is a node of a reduced, ordered,
multi-valued decision diagram: a variable, a sorted row of cuts that part the variable's domain into
intervals, and one child for each interval. Equal functions are the same integer, so equality, emptiness and
implication are comparisons of integers, and every operation is memoised. Unlike a bitset over enumerated
environments, the diagram need not be indexed again when a new boundary appears and does not grow with the
product of unrelated variables.

Source: R. E. Bryant, "Graph-Based Algorithms for Boolean Function Manipulation", 1986.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

FALSE = 0
TRUE = 1

Variable = tuple[int, str]
"""(rank, name): the order of variables from the root down. Independent of the order of discovery, so that two
runs that meet the same markers in another order build the same diagram."""

Cut = tuple[Any, int]
"""(value, side): the domain is cut just before (0) or just after (1) a value. Values of one variable
compare."""

SWITCH: tuple[Cut, ...] = (("", 0),)
"""The single cut of a two-valued variable: the first child is for false, the second for true."""


class Diagram:
    """A store of nodes and the operations on them. Node numbers have meaning within one store only."""

    def __init__(self) -> None:
        self._nodes: list[tuple[Variable, tuple[Cut, ...], tuple[int, ...]]] = [((-1, ""), (), ())] * 2
        self._interned: dict[tuple[Variable, tuple[Cut, ...], tuple[int, ...]], int] = {}
        self._conjunctions: dict[tuple[int, int], int] = {}
        self._negations: dict[int, int] = {FALSE: TRUE, TRUE: FALSE}

    def node(self, variable: Variable, cuts: tuple[Cut, ...], children: tuple[int, ...]) -> int:
        """Return the node for a row of cuts and one child more than there are cuts."""
        kept_cuts: list[Cut] = []
        kept = [children[0]]
        for cut, child in zip(cuts, children[1:], strict=True):
            if child != kept[-1]:
                kept_cuts.append(cut)
                kept.append(child)
        if not kept_cuts:
            return kept[0]
        key = (variable, tuple(kept_cuts), tuple(kept))
        found = self._interned.get(key)
        if found is None:
            found = len(self._nodes)
            self._nodes.append(key)
            self._interned[key] = found
        return found

    def switch(self, variable: Variable) -> int:
        """Return the node that is true exactly where a two-valued variable is."""
        return self.node(variable, SWITCH, (FALSE, TRUE))

    def interval(self, variable: Variable, lower: Cut | None, upper: Cut | None) -> int:
        """Return the node that is true between two cuts; None stands for no bound."""
        if lower is not None and upper is not None and lower >= upper:
            return FALSE
        cuts = tuple(cut for cut in (lower, upper) if cut is not None)
        children = (TRUE,) if lower is None else (FALSE, TRUE)
        return self.node(variable, cuts, children if upper is None else (*children, FALSE))

    def parts(self, node: int) -> tuple[Variable, tuple[Cut, ...], tuple[int, ...]]:
        """Return variable, cuts and children of a node that is neither true nor false."""
        return self._nodes[node]

    def negate(self, node: int) -> int:
        """Return the complement."""
        found = self._negations.get(node)
        if found is None:
            variable, cuts, children = self._nodes[node]
            found = self.node(variable, cuts, tuple(self.negate(child) for child in children))
            self._negations[node] = found
            self._negations[found] = node
        return found

    def conjoin(self, left: int, right: int) -> int:
        """Return the intersection."""
        if left == right:
            return left
        if left > right:
            left, right = right, left
        if left <= TRUE:
            return right if left else FALSE
        key = (left, right)
        found = self._conjunctions.get(key)
        if found is None:
            found = self._conjunctions[key] = self._conjoin(left, right)
        return found

    def _conjoin(self, left: int, right: int) -> int:
        variable, cuts, children = self._nodes[left]
        other, other_cuts, other_children = self._nodes[right]
        if variable < other:
            return self.node(variable, cuts, tuple(self.conjoin(child, right) for child in children))
        if other < variable:
            return self.node(other, other_cuts, tuple(self.conjoin(left, child) for child in other_children))
        merged: list[Cut] = []
        row = [self.conjoin(children[0], other_children[0])]
        i = j = 0
        while i < len(cuts) or j < len(other_cuts):
            if j == len(other_cuts) or (i < len(cuts) and cuts[i] <= other_cuts[j]):
                cut = cuts[i]
            else:
                cut = other_cuts[j]
            i += i < len(cuts) and cuts[i] == cut
            j += j < len(other_cuts) and other_cuts[j] == cut
            merged.append(cut)
            row.append(self.conjoin(children[i], other_children[j]))
        return self.node(variable, tuple(merged), tuple(row))

    def disjoin(self, left: int, right: int) -> int:
        """Return the union."""
        if right in (left, FALSE):
            return left
        if left == FALSE:
            return right
        if TRUE in (left, right):
            return TRUE
        return self.negate(self.conjoin(self.negate(left), self.negate(right)))

    def any_of(self, nodes: Sequence[int]) -> int:
        """Return the union of many; two and two, so that thousands are not merged into one that grows."""
        return self._paired(nodes, self.disjoin, FALSE)

    def all_of(self, nodes: Sequence[int]) -> int:
        """Return the intersection of many."""
        return self._paired(nodes, self.conjoin, TRUE)

    @staticmethod
    def _paired(nodes: Sequence[int], join: Callable[[int, int], int], nothing: int) -> int:
        while len(nodes) > 1:
            odd = nodes[len(nodes) & ~1 :]
            nodes = [*map(join, nodes[::2], nodes[1::2]), *odd]
        return nodes[0] if nodes else nothing

    def difference(self, left: int, right: int) -> int:
        """Return what is in `left` and not in `right`."""
        return self.conjoin(left, self.negate(right))

    def disjoint(self, left: int, right: int) -> bool:
        """Tell whether no environment is in both."""
        return self.conjoin(left, right) == FALSE

    def implies(self, left: int, right: int) -> bool:
        """Tell whether every environment of `left` is in `right`."""
        return left == right or self.conjoin(left, right) == left

    def assign(self, node: int, rank: int, values: Mapping[str, bool], *, rest: bool = False) -> int:
        """Fix all two-valued variables of one rank: those named to their value, the others to `rest`."""
        memo: dict[int, int] = {FALSE: FALSE, TRUE: TRUE}

        def visit(current: int) -> int:
            found = memo.get(current)
            if found is None:
                variable, cuts, children = self._nodes[current]
                if variable[0] == rank:
                    found = visit(children[1 if values.get(variable[1], rest) else 0])
                else:
                    found = self.node(variable, cuts, tuple(visit(child) for child in children))
                memo[current] = found
            return found

        return visit(node)

    def simplify(self, node: int, care: int) -> int:
        """Return a function that equals `node` wherever `care` is true, and is free elsewhere, made small.

        Source: O. Coudert and J. C. Madre, the generalised cofactor ("restrict"), 1990.
        """
        memo: dict[tuple[int, int], int] = {}

        def visit(current: int, within: int) -> int:
            if current <= TRUE or within == TRUE:
                return current
            found = memo.get((current, within))
            if found is None:
                found = memo[(current, within)] = self._restrict(current, within, visit)
            return found

        return node if care == FALSE else visit(node, care)

    def _restrict(self, current: int, within: int, visit: Callable[[int, int], int]) -> int:
        variable, cuts, children = self._nodes[current]
        other, other_cuts, other_children = self._nodes[within]
        if other < variable:
            union = FALSE
            for child in other_children:
                union = self.disjoin(union, child)
            return visit(current, union)
        if variable < other:
            return self.node(variable, cuts, tuple(visit(child, within) for child in children))
        boundaries = sorted({*cuts, *other_cuts})
        row: list[int | None] = []
        i = j = 0
        for cut in (None, *boundaries):
            i += cut is not None and i < len(cuts) and cuts[i] == cut
            j += cut is not None and j < len(other_cuts) and other_cuts[j] == cut
            row.append(None if other_children[j] == FALSE else visit(children[i], other_children[j]))
        return self.node(variable, tuple(boundaries), self._filled(row, ordered=variable[0] == 0))

    def _filled(self, row: list[int | None], *, ordered: bool) -> tuple[int, ...]:
        """Give the intervals outside the care set a child that removes boundaries.

        Where the domain has an order, that is the neighbour's. Where only equality counts, the intervals
        between the named values are one cell and must stay one, so all take the child that is met most
        often.
        """
        inside = [child for child in row if child is not None]
        common = max(inside, key=inside.count)
        filled: list[int] = []
        for child in row:
            if child is not None:
                filled.append(child)
            else:
                filled.append((filled[-1] if filled else inside[0]) if ordered else common)
        return tuple(filled)

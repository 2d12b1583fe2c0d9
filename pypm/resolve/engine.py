"""PubGrub's core: unit propagation, conflict resolution and learned incompatibilities.

Source: N. Weizenbaum, "PubGrub: Next-Generation Version Solving", 2018, and the Dart implementation's
solver notes.
"""

from __future__ import annotations

from collections.abc import Callable

from pypm.resolve.incompatibility import (
    FromConflict,
    FromDependency,
    FromUnusable,
    Incompatibility,
    Refusal,
    Term,
)
from pypm.resolve.lowering import Dependency
from pypm.resolve.packages import ROOT, Packages
from pypm.resolve.partial import PartialSolution
from pypm.resolve.versions import PRESENT


class NoSolutionError(Exception):
    """The incompatibilities contradict each other; `root` is the one that says so."""

    def __init__(self, root: Incompatibility) -> None:
        super().__init__("no solution")
        self.root = root


class Engine:
    """Incompatibilities, the partial solution and the steps between them."""

    def __init__(self, packages: Packages) -> None:
        self.packages = packages
        self.solution = PartialSolution()
        self.solution.states[ROOT] = PRESENT
        self.incompatibilities: dict[int, dict[Incompatibility, int]] = {}
        """Of each package those that name it, in the order of adding, with the states they name."""
        self._known: dict[object, Incompatibility] = {}

    def copy(self) -> Engine:
        """Return an independent engine with the same knowledge."""
        other = Engine.__new__(Engine)
        other.packages = self.packages
        other.solution = self.solution.copy()
        other.incompatibilities = {number: dict(rows) for number, rows in self.incompatibilities.items()}
        other._known = dict(self._known)
        return other

    def add(self, incompatibility: Incompatibility) -> None:
        """Make an incompatibility known to propagation."""
        for package, mask in incompatibility.terms:
            self.incompatibilities.setdefault(package, {})[incompatibility] = mask

    def require(
        self, parents: tuple[Term, ...], dependency: Dependency, target: int, allowed: int
    ) -> Incompatibility:
        """State that while the parents' terms hold, `target` is one of `allowed`.

        Versions of one parent that state the same are merged into one incompatibility: fewer to propagate,
        and an explanation that speaks of ranges.
        """
        full = self.packages.all[target].versions.full
        lead, bit = parents[0]
        key = (lead, parents[1:], dependency, target)
        known = self._known.get(key)
        if known is not None:
            versions = known.mask(lead) or 0
            if not bit & ~versions:
                return known
            bit |= versions
            for package, _ in known.terms:
                self.incompatibilities[package].pop(known, None)
        # Where nothing is allowed, the parent alone is impossible: a term that is always true says nothing.
        refused = ((target, full & ~allowed),) if allowed else ()
        terms = _merged(((lead, bit), *parents[1:], *refused))
        found = Incompatibility(terms, FromDependency(parents[-1][0], bit, dependency, target))
        self._known[key] = found
        self.add(found)
        return found

    def refuse(self, package: int, bit: int, refusal: Refusal) -> None:
        """State that a version cannot be used."""
        if ("refused", package, bit) not in self._known:
            version = self.packages.version(package, bit)
            found = Incompatibility(((package, bit),), FromUnusable(package, version, refusal))
            self._known[("refused", package, bit)] = found
            self.add(found)

    def contradicts(self, incompatibility: Incompatibility, package: int, bit: int) -> bool:
        """Tell whether choosing a version would make every term true at once."""
        states = self.solution.states
        for other, mask in incompatibility.terms:
            if other == package:
                if not bit & mask:
                    return False
            elif other not in states or states[other] & ~mask:
                return False
        return True

    def propagate(self, start: int, report: Callable[[int, Incompatibility], None]) -> None:
        """Derive everything that follows; learn from every conflict met on the way.

        `report` is told of each conflict: the package whose assignment was taken back, and what was learned.

        Raises:
            NoSolutionError: the conflict holds before any decision.
        """
        queue = [start]
        while queue:
            package = queue.pop()
            states = self.solution.states
            for incompatibility, mask in reversed(list(self.incompatibilities.get(package, {}).items())):
                # Most are out of the question by this package alone: that is asked without a call.
                if not states.get(package, mask) & mask:
                    continue
                outcome = self._relate(incompatibility)
                if outcome is None:
                    continue
                if outcome < 0:
                    learned, affected = self._resolve_conflict(incompatibility)
                    report(affected, learned)
                    derived = self._relate(learned)
                    assert derived is not None
                    assert derived >= 0
                    self._derive(derived, learned)
                    queue = [derived]
                    break
                self._derive(outcome, incompatibility)
                if outcome not in queue:
                    queue.append(outcome)

    def _relate(self, incompatibility: Incompatibility) -> int | None:
        """Return the one package that an incompatibility still leaves open, -1 for none, None for no news."""
        states = self.solution.states
        all_packages = self.packages.all
        found = -1
        for package, mask in incompatibility.terms:
            current = states.get(package)
            if current is None:
                current = all_packages[package].versions.full
            if not current & mask:
                return None
            if current & ~mask:
                if found >= 0:
                    return None
                found = package
        return found

    def _derive(self, package: int, incompatibility: Incompatibility) -> None:
        full = self.packages.all[package].versions.full
        mask = incompatibility.mask(package)
        assert mask is not None
        self.solution.derive(package, full & ~mask, full, incompatibility)
        if self.solution.level == 0:
            self._forget(package)

    def _forget(self, package: int) -> None:
        """Drop incompatibilities with a term that is false for good: what level 0 says is never taken back.

        Where versions fail by the hundred, what each of them required would be looked at for every next one.
        """
        state = self.solution.states[package]
        rows = self.incompatibilities[package]
        for dead in [found for found, mask in rows.items() if not mask & state]:
            for other, _ in dead.terms:
                self.incompatibilities[other].pop(dead, None)

    def _resolve_conflict(self, conflict: Incompatibility) -> tuple[Incompatibility, int]:
        """Walk from a violated incompatibility to its root cause, and back to where that leaves one way
        open."""
        solution = self.solution
        current = conflict
        while True:
            if all(package == ROOT for package, _ in current.terms):
                raise NoSolutionError(current)
            index, previous_level, mask = self._latest(current)
            satisfier = solution.trail[index]
            if satisfier.cause is None or previous_level < satisfier.level:
                solution.backtrack(previous_level)
                if current is not conflict:
                    self.add(current)
                return current, satisfier.package
            current = _resolvent(self.packages, current, satisfier.cause, satisfier.package, mask)

    def _latest(self, incompatibility: Incompatibility) -> tuple[int, int, int]:
        """Find the assignment that completed an incompatibility, and the level at which all but it held."""
        solution = self.solution
        indexes = [
            (solution.satisfier(package, mask), package, mask) for package, mask in incompatibility.terms
        ]
        index, package, mask = max(indexes)
        satisfier = solution.trail[index]
        others = [other for other, name, _ in indexes if name != package]
        others.append(solution.satisfier_with(package, mask, satisfier.own))
        previous = max(others)
        return index, solution.trail[previous].level if previous >= 0 else 0, mask


def _resolvent(
    packages: Packages, current: Incompatibility, cause: Incompatibility, package: int, mask: int
) -> Incompatibility:
    """Resolve two incompatibilities over a package: what contradicts both of its sides."""
    other = cause.mask(package)
    assert other is not None
    terms = [term for term in (*current.terms, *cause.terms) if term[0] != package]
    union = mask | other
    if union != packages.all[package].versions.full:
        terms.append((package, union))
    return Incompatibility(_merged(terms), FromConflict(current, cause))


def _merged(terms: tuple[Term, ...] | list[Term]) -> tuple[Term, ...]:
    """Unite the terms of each package: all of them must hold, so their states are intersected."""
    table: dict[int, int] = {}
    for package, mask in terms:
        table[package] = table[package] & mask if package in table else mask
    return tuple(table.items())

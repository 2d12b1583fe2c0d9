"""The partial solution: what is decided and derived so far, in order, so that it can be taken back."""

from __future__ import annotations

from msgspec import Struct

from pypm.resolve.incompatibility import Incompatibility
from pypm.resolve.versions import ABSENT

ROOT = 0
"""The number of the project itself."""


class Assignment(Struct):
    """One step: a decision, when it has no cause, or a derivation from an incompatibility."""

    package: int
    own: int
    """The states that this step alone allows."""
    states: int
    """The states left after this step and all before it."""
    before: int
    level: int
    cause: Incompatibility | None


class PartialSolution:
    """A trail of assignments with, for every package, the states that are left."""

    def __init__(self) -> None:
        self.trail: list[Assignment] = []
        self.states: dict[int, int] = {}
        """Packages that something was assigned to; the others may have any state."""
        self.decided: dict[int, int] = {}
        """Package to the bit of its chosen version, in the order of decisions."""
        self.pending: dict[int, None] = {}
        """Packages that must have a version and have none yet."""
        self.level = 0
        self._history: dict[int, list[int]] = {}

    def copy(self) -> PartialSolution:
        """Return an independent copy; the assignments themselves never change and are shared."""
        other = PartialSolution()
        other.trail = list(self.trail)
        other.states = dict(self.states)
        other.decided = dict(self.decided)
        other.pending = dict(self.pending)
        other.level = self.level
        other._history = {package: list(indexes) for package, indexes in self._history.items()}
        return other

    def decide(self, package: int, bit: int, full: int) -> None:
        """Choose a version. The root is no choice: it is there from the start, at level 0, and is never
        taken back."""
        if package != ROOT:
            self.level += 1
            self._assign(package, bit, full, None)
        self.decided[package] = bit
        self.pending.pop(package, None)

    def derive(self, package: int, states: int, full: int, cause: Incompatibility) -> None:
        """Narrow a package to some states, because of an incompatibility."""
        self._assign(package, states, full, cause)
        if not self.states[package] & ABSENT and package not in self.decided:
            self.pending[package] = None

    def _assign(self, package: int, own: int, full: int, cause: Incompatibility | None) -> None:
        before = self.states.get(package, full)
        after = before & own
        self._history.setdefault(package, []).append(len(self.trail))
        self.trail.append(Assignment(package, own, after, before, self.level, cause))
        self.states[package] = after

    def backtrack(self, level: int) -> None:
        """Take back every assignment above a decision level."""
        while self.trail and self.trail[-1].level > level:
            last = self.trail.pop()
            history = self._history[last.package]
            history.pop()
            if last.cause is None:
                self.decided.pop(last.package, None)
            if history:
                self.states[last.package] = last.before
            else:
                del self.states[last.package]
                del self._history[last.package]
            if last.before & ABSENT:
                self.pending.pop(last.package, None)
            elif last.package not in self.decided:
                self.pending[last.package] = None
        self.level = level

    def level_of(self, package: int) -> int | None:
        """Return the level at which a package was decided."""
        for index in self._history.get(package, ()):
            if self.trail[index].cause is None:
                return self.trail[index].level
        return None

    def satisfier(self, package: int, states: int) -> int:
        """Return the index of the first assignment after which the package's state is among `states`."""
        for index in self._history.get(package, ()):
            if not self.trail[index].states & ~states:
                return index
        return -1

    def satisfier_with(self, package: int, states: int, own: int) -> int:
        """Return the first index after which `states` holds when one further assignment is known to hold.

        -1 stands for: already before any assignment.
        """
        if not own & ~states:
            return -1
        for index in self._history.get(package, ()):
            if not self.trail[index].states & own & ~states:
                return index
        raise AssertionError("a satisfied term has a satisfier")

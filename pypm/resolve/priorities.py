"""Which package is decided next.

A package that is narrowed to one version is decided early, because nothing is lost; packages that keep
rejecting each other's versions are moved, the rejected one before and the rejecting one after: without
this, a resolver walks down all versions of one package to keep the newest of another.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

CONFLICT_THRESHOLD = 5
"""Conflicts after which a package is moved: early enough to save work, late enough to leave a good order
alone."""

URL, SINGLE, CONFLICT_EARLY, CONFLICT_LATE, FIRST_SEEN = range(5)
"""Classes of priority, the first decided first; inside a class the package met first."""


class Priorities(Struct):
    """The order of packages in one fork, and the conflicts counted towards moving them."""

    order: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Package to its class and its place among those met, in the order in which they were met."""
    rejected: dict[int, int] = field(default_factory=dict)
    rejecting: dict[int, int] = field(default_factory=dict)
    moved: list[int] = field(default_factory=list)
    """Packages that have just been moved back, and whose decisions are to be reconsidered."""

    def copy(self) -> Priorities:
        """Return an independent copy."""
        return Priorities(dict(self.order), dict(self.rejected), dict(self.rejecting), list(self.moved))

    def meet(self, package: int, *, single: bool, url: bool) -> None:
        """Note a requirement on a package: it may raise the package's class and never lowers it."""
        wanted = URL if url else SINGLE if single else FIRST_SEEN
        known = self.order.get(package)
        if known is None:
            self.order[package] = (wanted, len(self.order))
        elif wanted < known[0]:
            self.order[package] = (wanted, known[1])

    def first(self, pending: Iterable[int]) -> int:
        """Return the package to decide next."""
        return min(pending, key=self.order.__getitem__)

    def conflict(self, rejected: int, rejecting: list[int]) -> None:
        """Count one conflict; at the threshold, move the packages."""
        if not rejecting:
            return
        for package in rejecting:
            count = self.rejecting[package] = self.rejecting.get(package, 0) + 1
            if count == CONFLICT_THRESHOLD and self._move(package, CONFLICT_LATE):
                self.moved.append(package)
        count = self.rejected[rejected] = self.rejected.get(rejected, 0) + 1
        if count == CONFLICT_THRESHOLD:
            self._move(rejected, CONFLICT_EARLY)

    def _move(self, package: int, to: int) -> bool:
        known = self.order.get(package)
        if known is None or known[0] <= URL:
            return False
        self.order[package] = (to, known[1])
        return True

"""One fork under solution: a region of the universe with its own engine and priorities."""

from __future__ import annotations

from msgspec import Struct, field

from pypm.resolve.engine import Engine
from pypm.resolve.incompatibility import Incompatibility, Term
from pypm.resolve.lowering import Dependency
from pypm.resolve.packages import ROOT, Packages
from pypm.resolve.priorities import Priorities
from pypm.resolve.versions import ABSENT, PRESENT


class Fork(Struct, kw_only=True):
    """What is known about one region so far. Copied where the region is parted."""

    region: int
    """A node of the marker algebra."""
    engine: Engine
    priorities: Priorities = field(default_factory=Priorities)
    next: int = ROOT
    """The package that propagation continues from."""
    forced: tuple[int, int] | None = None
    """A package and the version that this fork was made for."""
    tried: dict[int, int] = field(default_factory=dict)
    """The versions of a package that were looked at, as a mask: many mean that more will be."""

    def part(self, region: int) -> Fork:
        """Return a copy for a part of the region."""
        return Fork(
            region=region,
            engine=self.engine.copy(),
            priorities=self.priorities.copy(),
            next=self.next,
            tried=dict(self.tried),
        )

    def require(
        self, packages: Packages, parents: tuple[Term, ...], dependencies: tuple[Dependency, ...]
    ) -> list[Incompatibility]:
        """Make dependencies known; return the incompatibilities that state them."""
        packages.prefetch(dependencies)
        stated: list[Incompatibility] = []
        for dependency in dependencies:
            target = packages.target(dependency)
            allowed = packages.allowed(target, dependency)
            if dependency.is_constraint:
                allowed |= ABSENT
            stated.append(self.engine.require(parents, dependency, target, allowed))
            self.priorities.meet(
                target, single=is_single(dependency), url=packages.all[target].source is not None
            )
            for extra in dependency.extras:
                proposition = packages.proposition("package-extra", extra, target)
                stated.append(self.engine.require(parents, dependency, proposition, PRESENT))
                self.priorities.meet(proposition, single=True, url=False)
        return stated

    def decide(
        self, packages: Packages, package: int, bit: int, stated: list[Incompatibility]
    ) -> Incompatibility | None:
        """Choose a version, unless what it requires contradicts what is decided: then return that."""
        self.next = package
        for incompatibility in stated:
            if self.engine.contradicts(incompatibility, package, bit):
                self.conflict(packages, package, incompatibility)
                return incompatibility
        self.engine.solution.decide(package, bit, packages.all[package].versions.full)
        return None

    def conflict(self, packages: Packages, rejected: int, incompatibility: Incompatibility) -> None:
        """Count a conflict against the packages that took part; an extra's conflicts are its package's."""
        bases = packages.bases
        base = bases[rejected] if bases[rejected] >= 0 else rejected
        others = {bases[package] if bases[package] >= 0 else package for package, _ in incompatibility.terms}
        self.priorities.conflict(base, sorted(others - {base, ROOT}))

    def propagate(self, packages: Packages) -> None:
        """Derive what follows, and reconsider packages that conflicts have moved.

        Raises:
            NoSolutionError: the region has no solution.
        """
        engine = self.engine
        engine.propagate(self.next, lambda rejected, learned: self.conflict(packages, rejected, learned))
        moved, self.priorities.moved = self.priorities.moved, []
        for package in moved:
            level = engine.solution.level_of(package)
            if level:
                engine.solution.backtrack(level - 1)
                for known in list(engine.solution.states):
                    engine.propagate(
                        known, lambda rejected, learned: self.conflict(packages, rejected, learned)
                    )

    def undecided(self, packages: Packages) -> int | None:
        """Return the package to decide next; None when the region is solved."""
        solution = self.engine.solution
        decided = solution.decided
        bases = packages.bases
        if not solution.pending:
            return None
        # Nearly always the first of all is ready; the others need not be looked at then.
        first = self.priorities.first(solution.pending)
        if bases[first] < 0 or bases[first] in decided:
            return first
        ready = [p for p in solution.pending if (base := bases[p]) < 0 or base in decided]
        return self.priorities.first(ready) if ready else None


def is_single(dependency: Dependency) -> bool:
    """Tell whether a requirement admits one version by what it says, not by what happens to exist."""
    return any(
        specifier.operator in ("==", "===") and not specifier.version.endswith(".*")
        for specifier in dependency.specifier
    )

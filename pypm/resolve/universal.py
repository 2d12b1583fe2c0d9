"""The universal search: every region is solved, and parted where one answer does not fit all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol

from msgspec import Struct
from packaging.specifiers import SpecifierSet

from pypm.model.candidate import Candidate
from pypm.resolve.diagram import FALSE, Cut
from pypm.resolve.engine import Engine, NoSolutionError
from pypm.resolve.fork import Fork
from pypm.resolve.forks import LOWEST_CUT, branches
from pypm.resolve.guards import split_on_guard
from pypm.resolve.incompatibility import Incompatibility, Refusal, Term
from pypm.resolve.inputs import Inputs
from pypm.resolve.lowering import Dependency, Lowering, RootBatch
from pypm.resolve.markers import Markers, release_key
from pypm.resolve.packages import ROOT, Packages
from pypm.resolve.platforms import PlatformForks
from pypm.resolve.provider import Provider, Unavailable
from pypm.resolve.selection import Selection
from pypm.resolve.universe import first_regions, universe_of
from pypm.resolve.versions import PRESENT
from pypm.resolve.wheels import Coverage, fits_target, tag_sets

NO_FILES = Refusal("wheels", "has no wheel for this platform and no source distribution")

MOST_TAGS = 4
"""Python tags that a sentence names."""

MOST_AHEAD = 64
"""Versions of one package that are announced at once: enough to keep the network busy, and where the search
ends soon, not much in vain."""


def _other_pythons(candidate: Candidate) -> Refusal:
    """Say for which Pythons a release has wheels, when the project admits none of them."""
    tags = sorted({tag for file in candidate.wheels for tag in (tag_sets(file.filename) or ((),))[0]})
    said = [f"`{tag}`" for tag in tags[:MOST_TAGS]] + (["others"] if len(tags) > MOST_TAGS else [])
    listed = f"{', '.join(said[:-1])} and {said[-1]}" if len(said) > 1 else "".join(said) or "nothing"
    return Refusal("python-wheels", f"has wheels for {listed} alone and no source distribution")


class Reporter(Protocol):
    """Watches the search; for progress displays and measurements."""

    def decided(self, name: str, version: str) -> None:
        """A version was chosen; it may be taken back."""


class Solved(Struct, frozen=True):
    """A region with its decisions: package number to the bit of its version."""

    region: int
    decided: dict[int, int]


class RegionUnsolvableError(Exception):
    """A region has no solution, and parting it would not help."""

    def __init__(self, region: int, root: Incompatibility, engine: Engine) -> None:
        super().__init__("no solution")
        self.region = region
        self.root = root
        self.engine = engine


class UniversalSolver:
    """Solves the whole universe of one question."""

    def __init__(self, inputs: Inputs, provider: Provider, reporter: Reporter | None = None) -> None:
        target = inputs.environment
        self.inputs = inputs
        self._reporter = reporter
        self.markers = Markers(target.marker_environment if target else None)
        self.lowering = Lowering(inputs, self.markers)
        self.packages = Packages(provider, self.lowering, inputs.project)
        self.batches = self.lowering.root_batches()
        self.universe = universe_of(inputs, self.markers)
        self._pythons = (
            self.markers.python_floor(self.universe),
            self.markers.python_ceiling(self.universe),
        )
        self._selection = Selection(inputs, self.markers, self.lowering)
        self._coverage = Coverage(self.markers)
        self._platforms = PlatformForks(inputs, self.markers, self._coverage, self.packages, self.batches)
        self._solved: list[Solved] = []
        self._announced: set[int] = set()
        # The fewest versions come from the lowest Python, the newest ones from the highest.
        self._low_first = inputs.settings.strategy == "lowest"

    def solve(self) -> list[Solved]:
        """Solve region after region; return them in the order of solving.

        Raises:
            RegionUnsolvableError: some region has no solution.
        """
        regions = first_regions(self.inputs, self.markers, self.universe, low_first=self._low_first)
        stack = [self._fresh(region) for region in reversed(regions)]
        while stack:
            fork = stack.pop()
            try:
                parts = self._advance(fork)
            except NoSolutionError as failure:
                stack += self._split(fork, failure.root)
                continue
            if parts is not None:
                stack += parts
                continue
            solved = Solved(fork.region, dict(fork.engine.solution.decided))
            self._solved.append(solved)
            for number, bit in solved.decided.items():
                package = self.packages.all[number]
                if package.kind == "package":
                    self._selection.remember(package, self.packages.version(number, bit), fork.region)
        return self._solved

    def _fresh(self, region: int) -> Fork:
        fork = Fork(region=region, engine=Engine(self.packages))
        for batch in self.batches[1:]:
            if not self.markers.diagram.disjoint(region, batch.guard):
                number = self.packages.proposition(batch.kind, batch.name)
                asked = Dependency(batch.name, SpecifierSet(), batch.guard)
                fork.engine.require(((ROOT, PRESENT),), asked, number, PRESENT)
                fork.priorities.meet(number, single=False, url=True)
        fork.engine.solution.pending[ROOT] = None
        fork.priorities.meet(ROOT, single=False, url=True)
        fork.priorities.order[ROOT] = (-1, 0)
        return fork

    def _advance(self, fork: Fork) -> list[Fork] | None:
        """Work on a fork until it is solved (None) or parts.

        Raises:
            NoSolutionError: the region has no solution as it is.
        """
        while True:
            fork.propagate(self.packages)
            number = fork.undecided(self.packages)
            if number is None:
                return None
            package = self.packages.all[number]
            if package.kind == "package":
                parts = self._choose(fork, number)
            elif package.kind == "package-extra":
                parts = self._activate(fork, number)
            else:
                batch = next(b for b in self.batches if (b.kind, b.name) == (package.kind, package.extra))
                parts = self._part(fork, number, PRESENT, ((number, PRESENT),), batch.dependencies)
            if parts is not None:
                return parts

    def _activate(self, fork: Fork, number: int) -> list[Fork] | None:
        package = self.packages.all[number]
        base_bit = fork.engine.solution.decided[package.base]
        found = self.packages.dependencies(package.base, base_bit, package.extra)
        if isinstance(found, Unavailable):
            fork.engine.refuse(package.base, base_bit, Refusal("metadata", found.reason, found.hint))
            fork.next = package.base
            return None
        terms = ((package.base, base_bit), (number, PRESENT))
        return self._part(fork, number, PRESENT, terms, found)

    def _choose(self, fork: Fork, number: int) -> list[Fork] | None:
        """Choose a version, refuse some, or part the region because a version serves a part of it only."""
        package = self.packages.all[number]
        fork.next = number
        for bit in self._usable_first(fork, number):
            candidate = self.packages.candidate(number, bit)
            refusal = self._selection.refusal(package, candidate.version, candidate.yanked)
            if refusal is not None:
                fork.engine.refuse(number, bit, refusal)
                continue
            parts = self._try(fork, number, bit, candidate)
            if parts is None or parts:
                return parts
        return None

    def _usable_first(self, fork: Fork, number: int) -> Iterator[int]:
        """Yield the versions that are left one bit at a time, the best first.

        Those come last whose wheels are all for Pythons above the region's, and that have no sdist: they are
        an answer only where every version is like that.
        """
        seen, unusable = 0, []
        ceiling = self.markers.python_ceiling(fork.region)
        is_part = self.inputs.environment is None and ceiling is not None
        for bit in self._in_order(fork, number, fork.engine.solution.states[number]):
            if bit & seen:
                continue
            seen |= bit
            if is_part and not self._has_files_below(self.packages.candidate(number, bit), ceiling):
                unusable.append(bit)
            else:
                yield bit
        yield from unusable

    def _in_order(self, fork: Fork, number: int, mask: int) -> Iterable[int]:
        """Return versions one bit at a time, the best first; some may come twice."""
        package = self.packages.all[number]
        if fork.forced is not None and fork.forced[0] == number and fork.forced[1] & mask:
            return [fork.forced[1]]
        direct = self.inputs.settings.strategy == "lowest-direct" and any(
            dependency.name == package.name
            and not self.markers.diagram.disjoint(fork.region, dependency.guard)
            for batch in self.batches
            for dependency in batch.dependencies
            if not dependency.is_constraint
        )
        return self._selection.in_order(package, mask, fork.region, direct=direct)

    def _try(self, fork: Fork, number: int, bit: int, candidate: Candidate) -> list[Fork] | None:
        """Return forks, None after a decision or a conflict, or an empty list when the version was
        refused."""
        parts = self._for_python(fork, number, bit, from_metadata=False)
        if parts is not None:
            return parts
        if not self._has_files(candidate):
            here = self.inputs.environment is not None
            fork.engine.refuse(number, bit, NO_FILES if here else _other_pythons(candidate))
            return []
        if self.inputs.environment is None and fork.forced != (number, bit):
            parts = self._platforms.parts(fork, number, bit, candidate)
            if parts is not None:
                return parts
        self._announce(fork, number, bit)
        metadata = self.packages.metadata(number, bit)
        found = self.packages.dependencies(number, bit)
        if isinstance(found, Unavailable) or isinstance(metadata, Unavailable):
            why = found if isinstance(found, Unavailable) else metadata
            assert isinstance(why, Unavailable)
            fork.engine.refuse(number, bit, Refusal("metadata", why.reason, why.hint))
            return []
        parts = self._for_python(fork, number, bit, from_metadata=True)
        if parts is not None:
            return parts
        return self._part(fork, number, bit, ((number, bit),), found)

    def _floor(self, region: int) -> Cut | None:
        target = self.inputs.environment
        if target is None:
            return self.markers.python_floor(region)
        full = target.marker_environment["python_full_version"].split("+")[0]
        release = [int(part) for part in full.split(".")[:3] if part.isdigit()]
        return release_key(release), 0

    def _for_python(self, fork: Fork, number: int, bit: int, *, from_metadata: bool) -> list[Fork] | None:
        """Part the region where a version asks for a higher Python, or refuse it where that is all of it."""
        bound = self.packages.python_bound(number, bit, from_metadata=from_metadata)
        if bound is None or bound <= (self._floor(fork.region) or LOWEST_CUT):
            return None
        diagram = self.markers.diagram
        above = diagram.conjoin(fork.region, self.markers.python_between(bound, None))
        if self.inputs.environment is not None or above == FALSE:
            asking = (self.packages.metadata if from_metadata else self.packages.candidate)(number, bit)
            assert not isinstance(asking, Unavailable)
            fork.engine.refuse(number, bit, Refusal("python", f"requires Python {asking.requires_python}"))
            return []
        below = diagram.difference(fork.region, above)
        return [fork.part(below), fork.part(above)]

    def _has_files(self, candidate: Candidate) -> bool:
        if not candidate.wheels and not candidate.sdists:
            return True  # A source tree, or an address that only building can judge.
        if self.inputs.environment is not None:
            return fits_target(candidate, self.inputs.environment)
        # Of all that the project admits, not of this region: that a release has no wheel yet for the newest
        # Python is no reason to give that Python an older release, or to find no answer.
        return self._coverage.has_python(candidate, *self._pythons)

    def _has_files_below(self, candidate: Candidate, ceiling: Cut | None) -> bool:
        """Tell whether some file serves a Python below the ceiling of a region: what is built for later ones
        alone never will."""
        if not candidate.wheels and not candidate.sdists:
            return True
        return self._coverage.has_python(candidate, self._pythons[0], ceiling)

    def _announce(self, fork: Fork, number: int, bit: int) -> None:
        """Announce metadata that will be wanted: this version's, and more the more often versions fail."""
        before = fork.tried.get(number, 0)
        fork.tried[number] = before | bit
        # A version that is chosen again, in another fork or after a step back, says nothing about the others.
        tried = 0 if before & bit else fork.tried[number].bit_count()
        coming = [] if self.packages.is_fetched(number, bit) else [self.packages.candidate(number, bit)]
        if tried >= 3 and (
            tried & (tried - 1) == 0 if tried < MOST_AHEAD else tried % (MOST_AHEAD // 2) == 0
        ):
            mask = fork.engine.solution.states[number]
            ahead = islice(self._in_order(fork, number, mask & ~bit), min(tried * 2, MOST_AHEAD))
            coming += [self.packages.candidate(number, other) for other in ahead]
        if coming:
            self.packages.provider.prefetch_metadata(coming)

    def _part(
        self, fork: Fork, number: int, bit: int, terms: tuple[Term, ...], dependencies: tuple[Dependency, ...]
    ) -> list[Fork] | None:
        """Decide, or return a fork for each branch that the dependencies make."""
        possible = (
            one for one in dependencies if not self.markers.diagram.disjoint(self.universe, one.guard)
        )
        self.packages.prefetch(possible)
        found = branches(self.markers, fork.region, dependencies, low_first=self._low_first)
        if len(found) <= 1:
            active = found[0].dependencies if found else ()
            known = len(fork.priorities.order)
            refused = fork.decide(self.packages, number, bit, fork.require(self.packages, terms, active))
            if refused is None and self._reporter is not None and self.packages.all[number].kind == "package":
                version = self.packages.version(number, bit)
                self._reporter.decided(self.packages.all[number].name, str(version))
            self._announce_new(fork, known)
            return None
        parts = []
        for branch in found:
            part = fork.part(branch.region)
            part.decide(self.packages, number, bit, part.require(self.packages, terms, branch.dependencies))
            parts.append(part)
        return parts

    def _announce_new(self, fork: Fork, known: int) -> None:
        """Announce the likely candidate of every package that has just been met."""
        coming = []
        for number in islice(reversed(fork.priorities.order), len(fork.priorities.order) - known):
            package = self.packages.all[number]
            if package.kind != "package" or number in self._announced:
                continue
            self._announced.add(number)
            mask = fork.engine.solution.states.get(number, package.versions.all)
            for bit in self._selection.in_order(package, mask, fork.region, direct=False):
                candidate = self.packages.candidate(number, bit)
                if self._selection.refusal(package, candidate.version, candidate.yanked) is None:
                    coming.append(candidate)
                    break
        if coming:
            self.packages.provider.prefetch_metadata(coming)

    def _split(self, fork: Fork, root: Incompatibility) -> list[Fork]:
        """Part a failed region on a guard of the requirements that contradict each other."""
        regions = split_on_guard(self.markers, fork.region, root)
        if not regions:
            raise RegionUnsolvableError(fork.region, root, fork.engine)
        return [self._fresh(region) for region in regions]


__all__ = ["RegionUnsolvableError", "RootBatch", "Solved", "UniversalSolver"]

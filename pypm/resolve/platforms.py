"""Forks that wheels make: platforms that must have one, and local versions that serve a few platforms
only."""

from __future__ import annotations

from pypm.model.candidate import Candidate
from pypm.resolve.diagram import FALSE, TRUE
from pypm.resolve.fork import Fork
from pypm.resolve.incompatibility import Refusal
from pypm.resolve.inputs import Inputs
from pypm.resolve.lowering import RootBatch
from pypm.resolve.markers import Markers
from pypm.resolve.packages import Packages
from pypm.resolve.reach import Graph
from pypm.resolve.wheels import Coverage


class PlatformForks:
    """Parts a region by which wheels a version has. A version with a source distribution serves
    everything."""

    def __init__(
        self,
        inputs: Inputs,
        markers: Markers,
        coverage: Coverage,
        packages: Packages,
        batches: tuple[RootBatch, ...],
    ) -> None:
        self._markers = markers
        self._coverage = coverage
        self._packages = packages
        self._batches = batches
        self._required = [
            (
                markers.parse(marker),
                Refusal("required", f"has no wheel for the required environment `{marker}`"),
            )
            for marker in inputs.settings.required_environments
        ]
        # What a lock is narrowed to must be served as well, or nothing could be installed there.
        self._required += [
            (markers.parse(marker), Refusal("wheels", f"has no wheel for the environment `{marker}`"))
            for marker in inputs.settings.environments
        ]

    def parts(self, fork: Fork, number: int, bit: int, candidate: Candidate) -> list[Fork] | None:
        """Return the forks a version makes, an empty list when it is refused, None when it serves as it
        is."""
        if not self._required and candidate.version.local is None:
            return None
        covered = self._coverage.platforms(candidate)
        if covered == TRUE:
            return None
        parts = self._for_required(fork, number, bit, covered)
        if parts is None and candidate.version.local is not None:
            parts = self._for_local(fork, number, bit, covered)
        return parts

    def _for_required(self, fork: Fork, number: int, bit: int, covered: int) -> list[Fork] | None:
        diagram = self._markers.diagram
        for required, missing in self._required:
            inside = diagram.conjoin(fork.region, required)
            if inside == FALSE or not diagram.disjoint(covered, required):
                continue
            if diagram.disjoint(self._reached(fork, number), required):
                continue
            outside = diagram.difference(fork.region, required)
            if outside == FALSE:
                fork.engine.refuse(number, bit, missing)
                return []
            # The last is solved first: the platforms that the newer version serves.
            return [fork.part(inside), fork.part(outside)]
        return None

    def _reached(self, fork: Fork, number: int) -> int:
        """Return where the decisions so far reach a package that is not decided itself."""
        decided = {**fork.engine.solution.decided, number: 0}
        graph = Graph(self._markers, self._packages, self._batches, decided)
        return graph.reached(fork.region, stop=number).get(number, FALSE)

    def _for_local(self, fork: Fork, number: int, bit: int, covered: int) -> list[Fork] | None:
        """Give the platforms that only the public version serves to the public version.

        `torch==2.5.1+cpu` has no wheel for macOS, and `torch==2.5.1` has.
        """
        versions = self._packages.all[number].versions
        version = versions.version(bit)
        public = versions.bit(type(version)(version.public)) & fork.engine.solution.states[number]
        if not public:
            return None
        diagram = self._markers.diagram
        rest = diagram.difference(self._coverage.platforms(self._packages.candidate(number, public)), covered)
        if diagram.disjoint(fork.region, rest):
            return None
        if diagram.disjoint(fork.region, covered):
            part = fork.part(fork.region)
            part.forced = (number, public)
            return [part]
        for name in ("darwin", "linux", "win32"):
            system = self._markers.equal("sys_platform", name)
            if diagram.disjoint(covered, system) and not diagram.disjoint(rest, system):
                # Neither serves the rest of that system, so the simpler boundary is as good.
                rest = diagram.disjoin(rest, system)
        base = fork.part(diagram.conjoin(fork.region, rest))
        base.forced = (number, public)
        local = fork.part(diagram.difference(fork.region, rest))
        local.forced = (number, bit)
        return [part for part in (base, local) if part.region != FALSE]

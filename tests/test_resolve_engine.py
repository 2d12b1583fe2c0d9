"""Terms, the partial solution, propagation and learning, on hand-made incompatibilities."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from integration.scenarios.memory import MemoryProvider
from integration.scenarios.model import Release
from pypm.resolve.diagram import TRUE
from pypm.resolve.engine import Engine, NoSolutionError
from pypm.resolve.guards import leaves
from pypm.resolve.incompatibility import FromConflict, FromUnusable, Incompatibility, Refusal
from pypm.resolve.inputs import Inputs
from pypm.resolve.lowering import Dependency, Lowering
from pypm.resolve.markers import Markers
from pypm.resolve.packages import ROOT, Packages
from pypm.resolve.partial import PartialSolution
from pypm.resolve.priorities import CONFLICT_THRESHOLD, Priorities
from pypm.resolve.versions import ABSENT, PRESENT

PLAIN = Release(extras={})
FULL = 0b1111
"""Absent, or one of three versions."""


def packages_of(**versions: tuple[str, ...]) -> Packages:
    universe = {name: dict.fromkeys(found, PLAIN) for name, found in versions.items()}
    inputs = Inputs(project=canonicalize_name("project"), requires_python=SpecifierSet(""))
    return Packages(MemoryProvider(universe), Lowering(inputs, Markers()), inputs.project)


def on(name: str, specifier: str = "") -> Dependency:
    return Dependency(canonicalize_name(name), SpecifierSet(specifier), TRUE)


def require(engine: Engine, parents: tuple[tuple[int, int], ...], name: str, specifier: str = "") -> int:
    dependency = on(name, specifier)
    target = engine.packages.target(dependency)
    engine.require(parents, dependency, target, engine.packages.allowed(target, dependency))
    return target


def silent(package: int, learned: Incompatibility) -> None:
    """Conflicts are not what the test is about."""


class TestPartialSolution:
    def test_assignments_narrow_and_backtracking_widens(self) -> None:
        cause = Incompatibility(((1, FULL),), FromUnusable(1, None, Refusal("metadata", "")))  # type: ignore[arg-type]
        solution = PartialSolution()
        solution.derive(1, 0b1110, FULL, cause)
        assert solution.pending == {1: None}
        solution.decide(1, 0b0100, FULL)
        assert solution.states[1] == 0b0100
        assert solution.decided == {1: 0b0100}
        assert not solution.pending
        solution.derive(2, 0b0011, FULL, cause)
        assert 2 not in solution.pending, "it may still be absent"
        solution.backtrack(0)
        assert solution.states == {1: 0b1110}
        assert solution.pending == {1: None}
        assert not solution.decided

    @given(st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.integers(1, FULL), st.booleans()), max_size=12))
    def test_the_satisfier_is_the_first_assignment_that_suffices(
        self, steps: list[tuple[int, int, bool]]
    ) -> None:
        cause = Incompatibility((), FromUnusable(1, None, Refusal("metadata", "")))  # type: ignore[arg-type]
        solution = PartialSolution()
        history: dict[int, list[tuple[int, int]]] = {1: [], 2: [], 3: []}
        for package, mask, decide in steps:
            left = solution.states.get(package, FULL) & mask
            if not left:
                continue
            if decide and package not in solution.decided and left != ABSENT:
                solution.decide(package, left & -left, FULL)
            else:
                solution.derive(package, mask, FULL, cause)
            history[package].append((len(solution.trail) - 1, solution.states[package]))
        for package, rows in history.items():
            for wanted in range(1, FULL):
                expected = next((index for index, states in rows if not states & ~wanted), -1)
                assert solution.satisfier(package, wanted) == expected

    def test_a_copy_goes_its_own_way(self) -> None:
        solution = PartialSolution()
        solution.decide(1, 0b10, FULL)
        other = solution.copy()
        other.decide(2, 0b10, FULL)
        other.backtrack(0)
        assert solution.decided == {1: 0b10}
        assert not other.decided


class TestEngine:
    def test_what_the_root_requires_is_derived(self) -> None:
        engine = Engine(packages_of(a=("1", "2", "3")))
        a = require(engine, ((ROOT, PRESENT),), "a", ">=2")
        engine.propagate(ROOT, silent)
        assert engine.solution.states[a] == 0b1100
        assert a in engine.solution.pending

    def test_a_package_without_versions_refuses_its_parent(self) -> None:
        engine = Engine(packages_of(a=("1", "2")))
        a = require(engine, ((ROOT, PRESENT),), "a")
        require(engine, ((a, 0b100),), "missing")
        engine.propagate(ROOT, silent)
        assert engine.solution.states[a] == 0b010

    def test_a_contradiction_of_the_root_has_a_proof(self) -> None:
        engine = Engine(packages_of(a=("1", "2")))
        require(engine, ((ROOT, PRESENT),), "a", "<2")
        require(engine, ((ROOT, PRESENT),), "a", ">=2")
        with pytest.raises(NoSolutionError) as caught:
            engine.propagate(ROOT, silent)
        assert all(package == ROOT for package, _ in caught.value.root.terms)
        assert len(list(leaves(caught.value.root))) == 2

    def test_a_conflict_is_learned_and_the_decision_taken_back(self) -> None:
        engine = Engine(packages_of(a=("1", "2"), b=("1",), c=("1", "2")))
        a = require(engine, ((ROOT, PRESENT),), "a")
        b = require(engine, ((ROOT, PRESENT),), "b")
        c = require(engine, ((a, 0b100),), "c", "==1")
        require(engine, ((b, 0b010),), "c", "==2")
        engine.propagate(ROOT, silent)
        # b has one version only, and that needs c==2: a==2 is refuted before anything is decided.
        engine.solution.decide(b, 0b010, engine.packages.all[b].versions.full)
        engine.propagate(b, silent)
        assert engine.solution.states[c] == 0b100
        assert engine.solution.states[a] == 0b010

    def test_learning_reports_who_was_taken_back(self) -> None:
        engine = Engine(packages_of(a=("1", "2"), b=("1",), c=("1", "2")))
        a = require(engine, ((ROOT, PRESENT),), "a")
        engine.propagate(ROOT, silent)
        engine.solution.decide(a, 0b100, engine.packages.all[a].versions.full)
        b = require(engine, ((a, 0b100),), "b")
        require(engine, ((a, 0b100),), "c", "==1")
        require(engine, ((b, 0b010),), "c", "==2")
        seen: list[tuple[int, bool]] = []
        engine.propagate(
            a, lambda package, learned: seen.append((package, isinstance(learned.cause, FromConflict)))
        )
        assert seen
        assert all(learned for _, learned in seen)
        assert engine.solution.states[a] == 0b010
        assert a not in engine.solution.decided

    def test_equal_requirements_of_neighbours_are_one_incompatibility(self) -> None:
        engine = Engine(packages_of(a=("1", "2", "3"), b=("1",)))
        a = require(engine, ((ROOT, PRESENT),), "a")
        dependency = on("b")
        b = engine.packages.target(dependency)
        for bit in (0b0010, 0b0100):
            engine.require(((a, bit),), dependency, b, 0b10)
        merged = [found for found in engine.incompatibilities[b] if found.mask(a) is not None]
        assert [found.mask(a) for found in merged] == [0b0110]

    def test_a_refused_version_is_never_derived_again(self) -> None:
        engine = Engine(packages_of(a=("1", "2")))
        a = require(engine, ((ROOT, PRESENT),), "a")
        engine.propagate(ROOT, silent)
        for _ in range(2):
            engine.refuse(a, 0b100, Refusal("yanked", "was yanked"))
        assert sum(isinstance(found.cause, FromUnusable) for found in engine.incompatibilities[a]) == 1
        engine.propagate(a, silent)
        assert engine.solution.states[a] == 0b010

    def test_what_can_never_matter_again_is_forgotten(self) -> None:
        engine = Engine(packages_of(a=("1", "2"), b=("1", "2")))
        a = require(engine, ((ROOT, PRESENT),), "a")
        b = require(engine, ((a, 0b100),), "b", "==2")
        require(engine, ((a, 0b010),), "b", "==1")
        engine.refuse(a, 0b100, Refusal("yanked", "was yanked"))
        engine.propagate(ROOT, silent)
        assert not engine.incompatibilities[b]
        assert engine.solution.states == {ROOT: PRESENT, a: 0b010, b: 0b010}


class TestPriorities:
    def test_classes_come_before_the_order_of_meeting(self) -> None:
        priorities = Priorities()
        priorities.meet(1, single=False, url=False)
        priorities.meet(2, single=True, url=False)
        priorities.meet(3, single=False, url=True)
        assert priorities.first([1, 2, 3]) == 3
        assert priorities.first([1, 2]) == 2
        priorities.meet(2, single=False, url=False)
        assert priorities.first([1, 2]) == 2, "a class is never lowered by another requirement"

    def test_packages_that_conflict_are_moved_at_the_threshold(self) -> None:
        priorities = Priorities()
        for package in (1, 2, 3):
            priorities.meet(package, single=False, url=False)
        for _ in range(CONFLICT_THRESHOLD - 1):
            priorities.conflict(3, [1])
        assert priorities.first([1, 2, 3]) == 1
        assert not priorities.moved
        priorities.conflict(3, [1])
        assert priorities.first([1, 2, 3]) == 3
        assert priorities.first([1, 2]) == 1
        assert priorities.moved == [1]

"""An answer to a scenario, whoever gave it, and how two answers are compared."""

from __future__ import annotations

from dataclasses import dataclass, field

from packaging.markers import Marker
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from integration.scenarios.model import Scenario
from pypm.resolve.diagram import FALSE
from pypm.resolve.marker_text import marker_text
from pypm.resolve.markers import Markers

Pins = dict[tuple[str, str], "Marker | None"]
"""(name, version) to where it is installed; None is everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Pins, or why there are none."""

    pins: Pins | None
    explanation: str = ""
    forks: tuple[str, ...] = ()
    seconds: float = 0.0
    stable: bool = True
    """Locking again gave the same answer."""
    trouble: str | None = None
    """Neither pins nor a refusal: something went wrong."""

    @property
    def satisfiable(self) -> bool | None:
        return None if self.trouble else self.pins is not None


@dataclass(slots=True)
class Verdict:
    """What was found out about one scenario."""

    scenario: Scenario
    answer: Answer
    problems: list[str] = field(default_factory=list)
    peer: Answer | None = None
    differences: list[str] = field(default_factory=list)
    better: str | None = None
    """Why the answer is right although it is not the expected one, or not the peer's."""

    @property
    def passed(self) -> bool:
        return self.better is not None or not (self.problems or self.differences)


def requires_python(scenario: Scenario) -> SpecifierSet:
    """Return the Pythons that a universal answer is for."""
    if scenario.is_compile or scenario.requires_python is None:
        floor = SpecifierSet(f">={scenario.environment_python}")
        if scenario.is_compile:
            return floor
        return floor if scenario.has_environment else SpecifierSet(">=3.12")
    return SpecifierSet(scenario.requires_python)


def check(scenario: Scenario, answer: Answer) -> list[str]:
    """Return how an answer differs from what the scenario expects."""
    if answer.trouble:
        return [answer.trouble]
    if answer.satisfiable != scenario.satisfiable:
        said = "a solution" if answer.satisfiable else "no solution"
        return [f"expected {'a' if scenario.satisfiable else 'no'} solution, got {said}"]
    problems = [] if answer.stable else ["locking again gave another answer"]
    found: dict[str, set[str]] = {}
    for name, version in answer.pins or {}:
        found.setdefault(name, set()).add(version)
    for name, version in scenario.expected.items():
        if not any(Version(version) == Version(other) for other in found.get(name, ())):
            has = ", ".join(sorted(found.get(name, ()))) or "nothing"
            problems.append(f"expected {name}=={version}, got {has}")
    if scenario.expected and not scenario.universal:
        problems += [f"{name} was not expected" for name in sorted(found.keys() - scenario.expected.keys())]
    return problems


def compare(scenario: Scenario, ours: Answer, theirs: Answer) -> list[str]:
    """Return how two answers differ, compared as functions of the environment."""
    if ours.trouble or theirs.trouble:
        return [text for text in (ours.trouble, theirs.trouble) if text]
    if ours.satisfiable != theirs.satisfiable:
        return [f"we say {_verdict(ours)}, the peer {_verdict(theirs)}"]
    if ours.pins is None or theirs.pins is None:
        return []
    markers = Markers()
    world = markers.diagram.conjoin(markers.world(), markers.admits(requires_python(scenario)))
    if scenario.environments:
        # Outside of them neither answer says anything.
        declared = FALSE
        for text in scenario.environments:
            declared = markers.diagram.disjoin(declared, markers.parse(Marker(text)))
        world = markers.diagram.conjoin(world, declared)
    differences = []
    for key in sorted(ours.pins.keys() | theirs.pins.keys()):
        where = []
        for pins in (ours.pins, theirs.pins):
            node = markers.parse(pins[key]) if key in pins else FALSE
            where.append(markers.diagram.conjoin(node, world))
        # A pin that is reached nowhere is not there, whoever lists it.
        if where[0] != where[1]:
            mine, other = (marker_text(markers, node, world) or "everywhere" for node in where)
            differences.append(f"{key[0]}=={key[1]}: ours {mine}; the peer's {other}")
    return differences


def _verdict(answer: Answer) -> str:
    return "satisfiable" if answer.satisfiable else "unsatisfiable"

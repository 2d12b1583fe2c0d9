"""Laws of resolution, on small random universes that brute force can solve as well."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import product

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from integration.scenarios.memory import MemoryProvider
from integration.scenarios.model import Release
from pypm.errors import ResolutionError
from pypm.model.project import ResolutionSettings
from pypm.model.resolution import Resolution
from pypm.resolve.inputs import Inputs, Preference
from pypm.resolve.solve import resolve

NAMES = ("a", "b", "c", "d")
VERSIONS = ("1.0", "2.0", "3.0")
MARKERS = (
    "",
    "",
    "",
    " ; sys_platform == 'linux'",
    " ; sys_platform != 'linux'",
    " ; python_version >= '3.12'",
    " ; python_version < '3.12'",
)
ENVIRONMENTS = [
    {
        "implementation_name": "cpython",
        "implementation_version": python,
        "os_name": os_name,
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": system,
        "platform_version": "",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": platform,
    }
    for python, (os_name, platform, system) in product(
        ("3.10", "3.12"), (("posix", "linux", "Linux"), ("nt", "win32", "Windows"))
    )
]

Universe = Mapping[str, Mapping[str, Release]]

specifiers = st.sampled_from(["", "", ">=2.0", "<2.0", "==1.0", "==2.0", "!=2.0", "<3.0", ">=3.0"])
names = st.sampled_from(NAMES)
requirements = st.builds(
    lambda name, extra, specifier, marker: f"{name}{extra}{specifier}{marker}",
    names,
    st.sampled_from(["", "", "", "[x]"]),
    specifiers,
    st.sampled_from(MARKERS),
)
releases = st.builds(
    lambda requires, extra, python: Release(
        requires=tuple(requires), extras={"x": tuple(extra)} if extra else {}, requires_python=python
    ),
    st.lists(requirements, max_size=2),
    st.lists(requirements, max_size=1),
    st.sampled_from([None, None, None, ">=3.12", ">=3.9"]),
)
universes = st.fixed_dictionaries(
    {name: st.dictionaries(st.sampled_from(VERSIONS), releases, min_size=1) for name in NAMES}
)
roots = st.lists(requirements, min_size=1, max_size=3)
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def question(root: list[str], **more: object) -> Inputs:
    return Inputs(
        project=canonicalize_name("project"),
        requires_python=SpecifierSet(">=3.10"),
        dependencies=tuple(map(Requirement, root)),
        **more,  # type: ignore[arg-type]
    )


def answer(universe: Universe, inputs: Inputs) -> Resolution | None:
    try:
        return resolve(inputs, MemoryProvider(universe))
    except ResolutionError:
        return None


def installed(resolution: Resolution, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the markers of the pins install in one environment; two versions at once fail."""
    found: dict[str, str] = {}
    for pin in resolution.pins:
        where = {**environment, "extras": set(), "dependency_groups": set()}
        if pin.marker is None or pin.marker.evaluate(where, context="lock_file"):
            assert pin.candidate.name not in found, f"{pin.candidate.name} twice in {environment}"
            found[pin.candidate.name] = str(pin.candidate.version)
    return found


def wanted(
    universe: Universe, root: list[str], chosen: Mapping[str, str], environment: Mapping[str, str]
) -> set[str] | None:
    """Return the names that the root reaches when `chosen` is installed; None when something is violated."""
    queue = list(root)
    done: set[str] = set()
    reached: set[str] = set()
    while queue:
        text = queue.pop()
        if text in done:
            continue
        done.add(text)
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({**environment, "extra": ""}):
            continue
        version = chosen.get(requirement.name)
        if version is None or not requirement.specifier.contains(version):
            return None
        release = universe[requirement.name][version]
        python = SpecifierSet(release.requires_python or "")
        if not python.contains(environment["python_full_version"]):
            return None
        reached.add(requirement.name)
        queue += release.requires
        for extra in requirement.extras:
            queue += release.extras.get(extra, ())
    return reached


def brute_force(universe: Universe, root: list[str], environment: Mapping[str, str]) -> bool:
    def choices() -> Iterator[dict[str, str]]:
        for row in product(*(universe[name] for name in NAMES)):
            yield dict(zip(NAMES, row, strict=True))

    return any(wanted(universe, root, chosen, environment) is not None for chosen in choices())


@given(universes, roots)
@relaxed
def test_there_is_an_answer_exactly_where_brute_force_finds_one(universe: Universe, root: list[str]) -> None:
    resolution = answer(universe, question(root))
    solvable = all(brute_force(universe, root, environment) for environment in ENVIRONMENTS)
    assert (resolution is not None) == solvable
    for environment in ENVIRONMENTS if resolution else ():
        assert resolution is not None
        chosen = installed(resolution, environment)
        assert wanted(universe, root, chosen, environment) == set(chosen)


@given(universes, roots, st.randoms(use_true_random=False))
@relaxed
def test_order_decides_nothing(universe: Universe, root: list[str], shuffler: random.Random) -> None:
    def shuffled(items: Mapping[str, object]) -> dict[str, object]:
        rows = list(items.items())
        shuffler.shuffle(rows)
        return dict(rows)

    other_root = list(root)
    shuffler.shuffle(other_root)
    other = {name: shuffled(releases) for name, releases in shuffled(universe).items()}  # type: ignore[arg-type]
    assert _shape(answer(universe, question(root))) == _shape(answer(other, question(other_root)))  # type: ignore[arg-type]


@given(universes, roots)
@relaxed
def test_a_lock_relocks_to_itself(universe: Universe, root: list[str]) -> None:
    first = answer(universe, question(root))
    if first is None:
        return
    preferences: dict[str, list[Preference]] = {}
    for pin in first.pins:
        kept = Preference(version=pin.candidate.version, marker=pin.marker)
        preferences.setdefault(pin.candidate.name, []).append(kept)
    kept_pins = {canonicalize_name(name): tuple(kept) for name, kept in preferences.items()}
    again = answer(universe, question(root, preferences=kept_pins, regions=first.forks))
    assert _shape(again) == _shape(first)


@given(universes, roots)
@relaxed
def test_a_constraint_that_holds_already_changes_nothing(universe: Universe, root: list[str]) -> None:
    inputs = question(root)
    constraints = tuple(Requirement(f"{name}>=0.1") for name in NAMES)
    constrained = replace(inputs, settings=ResolutionSettings(constraints=constraints))
    assert _shape(answer(universe, inputs)) == _shape(answer(universe, constrained))


@given(universes, roots, st.sampled_from(["lowest", "lowest-direct"]))
@settings(max_examples=30, deadline=None)
def test_every_strategy_finds_an_answer_where_there_is_one(
    universe: Universe, root: list[str], strategy: str
) -> None:
    lowest = replace(question(root), settings=ResolutionSettings(strategy=strategy))  # type: ignore[arg-type]
    found = answer(universe, lowest)
    assert (found is None) == (answer(universe, question(root)) is None)
    for environment in ENVIRONMENTS if found else ():
        assert found is not None
        chosen = installed(found, environment)
        assert wanted(universe, root, chosen, environment) == set(chosen)


def _shape(resolution: Resolution | None) -> object:
    if resolution is None:
        return None
    return (
        [
            (pin.candidate.name, Version(str(pin.candidate.version)), str(pin.marker), pin.edges)
            for pin in resolution.pins
        ],
        [str(fork) for fork in resolution.forks],
        resolution.root_edges,
    )

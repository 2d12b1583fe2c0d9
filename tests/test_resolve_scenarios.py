"""Scenarios of our own, and those of a folder beside the checkout where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from integration.scenarios.memory import MemoryProvider
from integration.scenarios.model import load_scenario, read_toml
from pypm.errors import ResolutionError
from pypm.model.project import ResolutionSettings
from pypm.resolve.inputs import Inputs
from pypm.resolve.markers import Markers
from pypm.resolve.solve import resolve

FOLDER = Path(__file__).parent / "scenarios"
CASES = sorted(FOLDER.glob("*.toml"))


def requirements(texts: list[str]) -> tuple[Requirement, ...]:
    return tuple(map(Requirement, texts))


def settings_of(table: dict[str, Any]) -> ResolutionSettings:
    made: dict[str, Any] = dict(table)
    for key in ("constraints", "overrides"):
        made[key] = requirements(table.get(key, []))
    for key in ("environments", "required_environments"):
        made[key] = tuple(map(Marker, table.get(key, [])))
    made["exclusions"] = tuple(map(canonicalize_name, table.get("exclusions", [])))
    made["conflicts"] = tuple(map(tuple, table.get("conflicts", [])))
    return ResolutionSettings(**made)


def inputs_of(data: dict[str, Any]) -> Inputs:
    root = data["root"]
    return Inputs(
        project=canonicalize_name("project"),
        requires_python=SpecifierSet(root.get("requires_python", ">=3.12")),
        dependencies=requirements(root["requires"]),
        extras={canonicalize_name(n): requirements(r) for n, r in root.get("extras", {}).items()},
        groups={canonicalize_name(n): requirements(r) for n, r in root.get("groups", {}).items()},
        settings=settings_of(data.get("settings", {})),
    )


def test_there_are_cases() -> None:
    assert len(CASES) > 20


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_scenario(path: Path) -> None:
    data = read_toml(path)
    scenario = load_scenario(path, FOLDER)
    assert scenario.name == path.stem
    expected = data["expected"]
    provider = MemoryProvider(scenario.packages, no_build=scenario.no_build)
    inputs = inputs_of(data)
    if not expected.get("satisfiable", True):
        with pytest.raises(ResolutionError) as caught:
            resolve(inputs, provider)
        assert expected.get("explanation", "") in "\n".join(caught.value.details)
        assert expected.get("hint", "") in (caught.value.hint or "")
        return
    resolution = resolve(inputs, provider)
    found = {f"{pin.candidate.name}=={pin.candidate.version}": pin.marker for pin in resolution.pins}
    assert found.keys() == expected["pins"].keys()
    markers = Markers()
    care = markers.diagram.conjoin(markers.world(), markers.admits(inputs.requires_python))
    for name, text in expected["pins"].items():
        wanted = markers.parse(Marker(text) if text else None)
        got = markers.parse(found[name])
        assert markers.diagram.conjoin(got, care) == markers.diagram.conjoin(wanted, care), found[name]
        assert text or found[name] is None, "a marker that always holds is not written"

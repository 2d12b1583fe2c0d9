"""The scenario harness, end to end on loopback: real client, real lock, real files."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import urllib.request
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.markers import Marker

from integration.scenarios.__main__ import judge
from integration.scenarios.answers import Answer, compare
from integration.scenarios.files import content
from integration.scenarios.model import Release, Scenario, load_folder, load_scenario
from integration.scenarios.serve import serving

UNIVERSAL = """
name = "two-platforms"
[resolver_options]
universal = true
[root]
requires = ["a[x]>=2 ; sys_platform == 'linux'", "a<2 ; sys_platform == 'darwin'"]
[packages.a.versions."1.0"]
[packages.a.versions."2.0"]
[packages.a.versions."2.0".extras]
x = ["b"]
[packages.b.versions."1.0"]
wheel = false
[expected]
satisfiable = true
"""
ONE = """
name = "one-environment"
[environment]
python = "3.11"
[root]
requires = ["a"]
[packages.a.versions."1.0"]
[packages.a.versions."2.0"]
requires_python = ">=3.12"
[expected.packages]
a = "1.0"
"""
NEVER = """
name = "never"
[root]
requires = ["a>1"]
[packages.a.versions."1.0"]
[expected]
satisfiable = false
"""


@pytest.fixture
def scenarios(tmp_path: Path) -> dict[str, Scenario]:
    for name, text in (("fork/two", UNIVERSAL), ("python/one", ONE), ("never", NEVER)):
        path = tmp_path / f"{name}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return {scenario.name: scenario for scenario in load_folder(tmp_path)}


def test_categories_are_the_folders(scenarios: dict[str, Scenario]) -> None:
    assert scenarios["two-platforms"].category == "fork"
    assert scenarios["one-environment"].category == "python"


@pytest.mark.parametrize("name", ["two-platforms", "one-environment", "never"])
def test_a_scenario_passes_through_the_real_client(scenarios: dict[str, Scenario], name: str) -> None:
    verdict = judge(scenarios[name], peer=None, better={})
    assert verdict.problems == []
    assert verdict.answer.stable
    assert verdict.passed


def test_the_lock_of_two_platforms(scenarios: dict[str, Scenario]) -> None:
    answer = judge(scenarios["two-platforms"], peer=None, better={}).answer
    assert answer.pins is not None
    assert {key: str(marker) for key, marker in answer.pins.items()} == {
        ("a", "1.0"): 'sys_platform == "darwin"',
        ("a", "2.0"): 'sys_platform == "linux"',
        ("b", "1.0"): 'sys_platform == "linux"',
    }


def test_a_wrong_answer_fails_unless_it_is_known_to_be_better(scenarios: dict[str, Scenario]) -> None:
    path = scenarios["one-environment"].path
    path.write_text(ONE.replace('a = "1.0"', 'a = "2.0"'), encoding="utf-8")
    scenario = load_scenario(path, path.parent)
    assert judge(scenario, peer=None, better={}).problems == ["expected a==2.0, got 1.0"]
    assert judge(scenario, peer=None, better={"one-environment": {"reason": "so"}}).passed


def test_answers_are_compared_by_what_their_markers_mean(scenarios: dict[str, Scenario]) -> None:
    def answer(**pins: str) -> Answer:
        return Answer(pins={(name, "1"): Marker(text) if text else None for name, text in pins.items()})

    scenario = scenarios["two-platforms"]
    spelled = answer(a="python_full_version >= '3.12' and sys_platform == 'win32'", b="python_version < '3'")
    assert compare(scenario, spelled, answer(a="sys_platform == 'win32'")) == []
    assert compare(scenario, answer(a=""), answer(a="sys_platform == 'win32'")) == [
        "a==1: ours everywhere; the peer's sys_platform == 'win32'"
    ]
    narrowed = replace(scenario, environments=("sys_platform == 'win32'",))
    assert compare(narrowed, answer(a=""), answer(a="sys_platform == 'win32'")) == []


def test_files_are_real_and_the_same_every_time() -> None:
    release = Release(
        requires=("b>=1",), extras={"x": ("c ; sys_platform == 'linux'",)}, requires_python=">=3.9"
    )
    wheel = content("a-1.0-py3-none-any.whl", "a", "1.0", release)
    assert wheel == content("a-1.0-py3-none-any.whl", "a", "1.0", release)
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        described = archive.read("a-1.0.dist-info/METADATA").decode()
    assert "Requires-Dist: b>=1" in described
    assert "Requires-Dist: c ; (sys_platform == 'linux') and extra == 'x'" in described
    sdist = content("a-1.0.tar.gz", "a", "1.0", release)
    with tarfile.open(fileobj=io.BytesIO(sdist)) as archive:
        member = archive.extractfile("a-1.0/PKG-INFO")
        assert member is not None
        assert member.read().decode() == described
    with serving({"a": {"1.0": release}}) as index:
        with urllib.request.urlopen(f"{index}/a/") as response:
            page = json.load(response)
        by_name = {file["filename"]: file for file in page["files"]}
        assert by_name["a-1.0.tar.gz"]["hashes"]["sha256"] == hashlib.sha256(sdist).hexdigest()
        assert by_name["a-1.0-py3-none-any.whl"]["requires-python"] == ">=3.9"

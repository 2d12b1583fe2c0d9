"""What a question can ask besides requirements: preferences, upgrades, regions, one environment, sources."""

from __future__ import annotations

from typing import ClassVar

import pytest
from msgspec.structs import replace
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from integration.scenarios.memory import MemoryProvider
from integration.scenarios.model import Release
from integration.scenarios.targets import target_for
from pypm.errors import ResolutionError
from pypm.model.project import IndexSource, ResolutionSettings, UrlSource
from pypm.model.resolution import Resolution
from pypm.resolve.inputs import Inputs, Preference
from pypm.resolve.solve import resolve


def release(*requires: str, **more: object) -> Release:
    return Release(requires=requires, extras=more.pop("extras", {}), **more)  # type: ignore[arg-type]


def question(*requires: str, **more: object) -> Inputs:
    return Inputs(
        project=canonicalize_name("project"),
        requires_python=SpecifierSet(">=3.10"),
        dependencies=tuple(map(Requirement, requires)),
        **more,  # type: ignore[arg-type]
    )


def pins(resolution: Resolution) -> list[str]:
    return [f"{pin.candidate.name}=={pin.candidate.version}" for pin in resolution.pins]


TWO = {"a": {"1.0": release(), "2.0": release()}, "b": {"1.0": release("a"), "2.0": release("a")}}
KEPT = {canonicalize_name(name): (Preference(version=Version("1.0")),) for name in ("a", "b")}


class TestPreferences:
    def test_locked_versions_stay(self) -> None:
        found = resolve(question("b", preferences=KEPT), MemoryProvider(TWO))
        assert pins(found) == ["a==1.0", "b==1.0"]

    def test_an_upgraded_package_moves_alone(self) -> None:
        inputs = question("b", preferences=KEPT, upgrade=frozenset({canonicalize_name("b")}))
        assert pins(resolve(inputs, MemoryProvider(TWO))) == ["a==1.0", "b==2.0"]

    def test_an_upgrade_of_all_forgets_everything(self) -> None:
        inputs = question("b", preferences=KEPT, upgrade_all=True)
        assert pins(resolve(inputs, MemoryProvider(TWO))) == ["a==2.0", "b==2.0"]

    def test_a_locked_version_that_no_longer_fits_moves(self) -> None:
        found = resolve(question("b", "a>=2", preferences=KEPT), MemoryProvider(TWO))
        assert pins(found) == ["a==2.0", "b==1.0"]

    def test_each_region_keeps_its_own(self) -> None:
        linux, others = Marker("sys_platform == 'linux'"), Marker("sys_platform != 'linux'")
        kept = {
            canonicalize_name("a"): (
                Preference(version=Version("1.0"), marker=linux),
                Preference(version=Version("2.0"), marker=others),
            )
        }
        found = resolve(question("a", preferences=kept, regions=(linux, others)), MemoryProvider(TWO))
        assert {str(pin.candidate.version): str(pin.marker) for pin in found.pins} == {
            "1.0": 'sys_platform == "linux"',
            "2.0": 'sys_platform != "linux"',
        }
        assert len(found.forks) == 2

    def test_regions_that_no_longer_cover_the_universe_are_completed(self) -> None:
        found = resolve(question("a", regions=(Marker("sys_platform == 'linux'"),)), MemoryProvider(TWO))
        assert [(pin.candidate.version, pin.marker) for pin in found.pins] == [(Version("2.0"), None)]

    def test_a_yanked_version_stays_while_it_is_locked(self) -> None:
        universe = {"a": {"1.0": release(yanked=True), "0.9": release()}}
        kept = {canonicalize_name("a"): (Preference(version=Version("1.0")),)}
        assert pins(resolve(question("a"), MemoryProvider(universe))) == ["a==0.9"]
        assert pins(resolve(question("a", preferences=kept), MemoryProvider(universe))) == ["a==1.0"]


class TestEnvironment:
    UNIVERSE: ClassVar = {
        "a": {
            "1.0": release("b ; sys_platform == 'win32'", "c ; python_version < '3.11'"),
            "2.0": release(requires_python=">=3.12"),
        },
        "b": {"1.0": release()},
        "c": {"1.0": release()},
    }

    @pytest.mark.parametrize(
        ("python", "platform", "expected"),
        [
            ("3.10", "linux", ["a==1.0", "c==1.0"]),
            ("3.11", "windows", ["a==1.0", "b==1.0"]),
            ("3.12", "linux", ["a==2.0"]),
        ],
    )
    def test_one_environment_has_one_plain_answer(
        self, python: str, platform: str, expected: list[str]
    ) -> None:
        inputs = question("a", environment=target_for(python, platform))
        found = resolve(inputs, MemoryProvider(self.UNIVERSE))
        assert pins(found) == expected
        assert all(pin.marker is None for pin in found.pins)
        assert found.forks == ()

    def test_wheels_must_fit_its_tags(self) -> None:
        universe = {
            "n": {
                "2.0": release(sdist=False, wheel_tags=("cp312-cp312-win_amd64",)),
                "1.0": release(sdist=False, wheel_tags=("cp312-cp312-manylinux_2_17_x86_64",)),
            }
        }
        linux = question("n", environment=target_for("3.12", "linux"))
        assert pins(resolve(linux, MemoryProvider(universe))) == ["n==1.0"]
        macos = question("n", environment=target_for("3.12", "macos"))
        with pytest.raises(ResolutionError, match="no versions satisfy"):
            resolve(macos, MemoryProvider(universe))


class TestWheels:
    def test_a_release_without_a_wheel_for_the_newest_python_serves_its_fork_too(self) -> None:
        universe = {
            "a": {"1.0": release(sdist=False, wheel_tags=("cp310-cp310-any", "cp311-cp311-any"))},
            "b": {"1.0": release(), "2.0": release(requires_python=">=3.12")},
        }
        assert pins(resolve(question("a", "b"), MemoryProvider(universe))) == ["a==1.0", "b==1.0", "b==2.0"]

    @pytest.mark.parametrize("tag", ["cp39-cp39-any", "cp313-cp313-any", "cp313-abi3-any", "cp312-none-any"])
    def test_a_wheel_is_for_a_python_that_the_project_admits(self, tag: str) -> None:
        universe = {
            "a": {
                "2.0": release(sdist=False, wheel_tags=(tag,)),
                "1.0": release(sdist=False, wheel_tags=("cp310-cp310-any",)),
            }
        }
        inputs = replace(question("a"), requires_python=SpecifierSet(">=3.10,<3.12"))
        assert pins(resolve(inputs, MemoryProvider(universe))) == ["a==1.0"]


class TestEdges:
    def test_edges_say_version_extras_and_condition(self) -> None:
        universe = {
            "app": {"1.0": release("web[tls,json] ; sys_platform == 'linux'", "lib")},
            "web": {"1.0": release("lib", extras={"tls": ("crypto",), "json": ()})},
            "crypto": {"1.0": release()},
            "lib": {"1.0": release()},
        }
        found = resolve(question("app"), MemoryProvider(universe))
        app, crypto, lib, web = found.pins
        assert [(edge.name, edge.version, str(edge.marker), edge.extras) for edge in app.edges] == [
            ("lib", "1.0", "None", ()),
            ("web", "1.0", 'sys_platform == "linux"', ("json", "tls")),
        ]
        # Inside `web`, which is there on Linux alone, its requirements hold always.
        assert [(edge.name, edge.marker, edge.extra) for edge in web.edges] == [
            ("lib", None, None),
            ("crypto", None, "tls"),
        ]
        assert str(crypto.marker) == 'sys_platform == "linux"'
        assert lib.marker is None
        assert [edge.name for edge in found.root_edges] == ["app"]

    def test_extras_and_groups_have_edges_of_their_own(self) -> None:
        universe = {"x": {"1": release()}, "y": {"1": release()}}
        inputs = replace(
            question(),
            extras={canonicalize_name("web"): (Requirement("x"),)},
            groups={canonicalize_name("dev"): (Requirement("y ; python_version >= '3.12'"),)},
        )
        found = resolve(inputs, MemoryProvider(universe))
        assert found.root_edges == ()
        assert [(name, [edge.name for edge in edges]) for name, edges in found.extra_edges] == [
            ("web", ["x"])
        ]
        ((_, (edge,)),) = found.group_edges
        assert str(edge.marker) == 'python_version >= "3.12"', "the group itself need not be repeated"
        markers = {pin.candidate.name: str(pin.marker) for pin in found.pins}
        assert markers["x"] == '"web" in extras'
        assert set(markers["y"].split(" and ")) == {'python_version >= "3.12"', '"dev" in dependency_groups'}


class TestSources:
    def test_a_source_with_a_marker_parts_the_universe(self) -> None:
        universe = {"torch": {"1.0": release(), "2.0": release()}}
        source = IndexSource(index="cpu", marker=Marker("sys_platform == 'linux'"))
        found = resolve(
            question("torch", sources={canonicalize_name("torch"): (source,)}), MemoryProvider(universe)
        )
        assert {pin.candidate.source: str(pin.marker) for pin in found.pins} == {
            source: 'sys_platform == "linux"',
            IndexSource(index="default"): 'sys_platform != "linux"',
        }

    def test_a_url_of_the_project_serves_everyone_who_wants_the_package(self) -> None:
        universe = {"a": {"1.0": release()}, "b": {"1.0": release("a>=1")}}
        found = resolve(question("b", "a @ https://example.org/a-1.0.zip"), MemoryProvider(universe))
        assert [pin.candidate.source for pin in found.pins if pin.candidate.name == "a"] == [
            UrlSource(url="https://example.org/a-1.0.zip")
        ]

    def test_a_url_that_only_a_package_names_is_not_followed(self) -> None:
        universe = {"a": {"1.0": release()}, "b": {"1.0": release("a @ https://example.org/a-1.0.zip")}}
        with pytest.raises(ResolutionError) as caught:
            resolve(question("b"), MemoryProvider(universe))
        assert "which the project does not list" in caught.value.details[0]
        assert (
            caught.value.hint == "add `a @ https://example.org/a-1.0.zip` to the project's own dependencies"
        )


class TestExplanations:
    def test_versions_are_gathered_and_the_chain_is_told_in_order(self) -> None:
        universe = {
            "menu": {f"1.{minor}": release("dropdown>=2") for minor in range(3)},
            "dropdown": {"1.0": release(), "2.0": release("icons<2"), "2.1": release("icons<2")},
            "icons": {"1.0": release(), "2.0": release()},
        }
        with pytest.raises(ResolutionError) as caught:
            resolve(question("menu", "icons>=2"), MemoryProvider(universe))
        assert caught.value.reference == "no-solution"
        assert caught.value.message == "no versions satisfy the requirements of `project`"
        text = " ".join(caught.value.details)
        assert "dropdown>=2.0 depends on icons<2" in text
        assert "menu depends on dropdown>=2" in text
        assert caught.value.details[-1].endswith("the requirements of your project are unsatisfiable.")
        assert len(caught.value.details) <= 3

    def test_the_place_is_named_where_only_a_part_has_no_answer(self) -> None:
        with pytest.raises(ResolutionError) as caught:
            resolve(
                question("a>=2 ; sys_platform == 'linux'", "a<2 ; sys_platform == 'linux'"),
                MemoryProvider(TWO),
            )
        assert "`sys_platform == 'linux'`" in caught.value.message

    def test_the_line_of_a_requirement_is_named(self) -> None:
        lines = {"a": "pyproject.toml:5", "b": "pyproject.toml:7"}
        inputs = question("a>=3", "b", place=lambda name, extras, versions: lines[name])
        with pytest.raises(ResolutionError) as caught:
            resolve(inputs, MemoryProvider(TWO | {"b": {"1.0": release()}}))
        assert "depends on a>=3 (pyproject.toml:5; no version of a matches" in caught.value.details[0]

    def test_a_disallowed_prerelease_is_the_reason(self) -> None:
        universe = {"a": {"1.0rc1": release(), "1.0rc2": release()}}
        inputs = question("a", settings=ResolutionSettings(prerelease="disallow"))
        with pytest.raises(ResolutionError) as caught:
            resolve(inputs, MemoryProvider(universe))
        assert "all versions of a are pre-releases" in caught.value.details[0]


def test_names_are_announced_before_the_first_is_waited_for() -> None:
    provider = MemoryProvider(
        {"a": {"1.0": release("b", "c")}, "b": {"1.0": release()}, "c": {"1.0": release()}}
    )
    resolve(question("a"), provider)
    assert provider.prefetched.index("b") < provider.prefetched.index("b==1.0")
    assert provider.prefetched.index("c") < provider.prefetched.index("b==1.0")


def test_metadata_is_asked_for_once() -> None:
    provider = MemoryProvider(TWO)
    resolve(question("b", "a ; sys_platform == 'linux'", "a<2 ; sys_platform != 'linux'"), provider)
    assert len(provider.metadata_asked) == len(set(provider.metadata_asked))


def test_what_no_environment_of_the_project_needs_is_not_asked_for() -> None:
    provider = MemoryProvider(
        {"a": {"1.0": release("b", "old ; python_version < '3.8'")}, "b": {"1.0": release()}, "old": {}}
    )
    resolve(question("a"), provider)
    assert "b" in provider.prefetched
    assert "old" not in (*provider.prefetched, *provider.offers_asked)

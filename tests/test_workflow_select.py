from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from packaging.markers import Marker
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from pypm.digest import sha256_hex
from pypm.errors import InterpreterError, LockError, UsageError
from pypm.model.artifact import LockedArtifact
from pypm.model.lock import Lock, LockedDependency, LockedPackage
from pypm.model.plan import Selection
from pypm.model.project import IndexSource, PathSource, ResolutionSettings
from pypm.model.target import Target
from pypm.workflow.select import select

LINUX = Target(
    marker_environment={
        "implementation_name": "cpython",
        "implementation_version": "3.11.7",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "6.1",
        "platform_system": "Linux",
        "platform_version": "1",
        "python_full_version": "3.11.7",
        "python_version": "3.11",
        "sys_platform": "linux",
    },
    tags=(
        "cp311-cp311-manylinux_2_28_x86_64",
        "cp311-cp311-manylinux_2_17_x86_64",
        "cp311-abi3-manylinux_2_17_x86_64",
        "cp38-abi3-manylinux_2_17_x86_64",
        "py3-none-any",
    ),
)
WINDOWS = Target(
    marker_environment={**LINUX.marker_environment, "sys_platform": "win32", "os_name": "nt"},
    tags=("cp311-cp311-win_amd64", "py3-none-any"),
)
EVERYTHING = Selection()


def artifact(filename: str) -> LockedArtifact:
    return LockedArtifact(filename=filename, sha256=sha256_hex(filename.encode()))


def package(
    name: str, *tags: str, sdist: bool = False, marker: str | None = None, **more: Any
) -> LockedPackage:
    fields: dict[str, Any] = {
        "name": name,
        "version": "1.0",
        "source": IndexSource(index="default"),
        "marker": None if marker is None else Marker(marker),
        "wheels": tuple(artifact(f"{name}-1.0-{tag}.whl") for tag in tags),
        "sdist": artifact(f"{name}-1.0.tar.gz") if sdist else None,
    }
    return LockedPackage(**{**fields, **more})


def lock(*packages: LockedPackage, **more: Any) -> Lock:
    fields: dict[str, Any] = {
        "content_hash": sha256_hex(b""),
        "requires_python": SpecifierSet(">=3.10"),
        "packages": packages,
        "extras": ("fast", "slow"),
        "dependency_groups": ("dev", "test"),
    }
    return Lock(**{**fields, **more})


def selection(*, extras: str = "", groups: str = "", dependencies: bool = True) -> Selection:
    return Selection(
        extras=frozenset(map(canonicalize_name, extras.split())),
        groups=frozenset(map(canonicalize_name, groups.split())),
        dependencies=dependencies,
    )


def chosen(found: LockedPackage, target: Target = LINUX, **settings: Any) -> str | None:
    (pick,) = select(lock(found), target, EVERYTHING, settings=ResolutionSettings(**settings))
    return None if pick.artifact is None else pick.artifact.filename


def names(locked: Lock, target: Target, wanted: Selection) -> list[str]:
    return [pick.package.name for pick in select(locked, target, wanted)]


def test_markers_decide_over_platform_extras_and_groups() -> None:
    locked = lock(
        package("win", "py3-none-any", marker="sys_platform == 'win32'"),
        package("quick", "py3-none-any", marker="'fast' in extras"),
        package("linter", "py3-none-any", marker="'dev' in dependency_groups and sys_platform == 'linux'"),
        package("always", "py3-none-any"),
    )
    assert names(locked, LINUX, EVERYTHING) == ["always"]
    assert names(locked, WINDOWS, EVERYTHING) == ["always", "win"]
    assert names(locked, LINUX, selection(extras="fast", groups="dev")) == ["always", "linter", "quick"]
    assert names(locked, WINDOWS, selection(groups="dev")) == ["always", "win"]


@pytest.mark.parametrize(
    ("tags", "best"),
    [
        (("py3-none-any", "cp38-abi3-manylinux_2_17_x86_64"), "cp38-abi3-manylinux_2_17_x86_64"),
        (("py2.py3-none-any",), "py2.py3-none-any"),
        (
            ("cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", "cp311-cp311-manylinux_2_28_x86_64"),
            "cp311-cp311-manylinux_2_28_x86_64",
        ),
        (("1-py3-none-any", "2b-py3-none-any", "10-py3-none-any"), "10-py3-none-any"),
        (("py3-none-any", "1-py3-none-any"), "1-py3-none-any"),
        (("9-py3-none-any", "cp38-abi3-manylinux_2_17_x86_64"), "cp38-abi3-manylinux_2_17_x86_64"),
    ],
)
def test_the_most_specific_wheel_wins_then_the_highest_build(tags: tuple[str, ...], best: str) -> None:
    for order in (tags, tags[::-1]):
        assert chosen(package("a", *order, sdist=True)) == f"a-1.0-{best}.whl"


def test_an_sdist_serves_where_no_wheel_does() -> None:
    found = package("a", "cp311-cp311-win_amd64", sdist=True)
    assert chosen(found, LINUX) == "a-1.0.tar.gz"
    assert chosen(found, WINDOWS) == "a-1.0-cp311-cp311-win_amd64.whl"
    assert chosen(package("a", "py3-none-any", sdist=True), no_binary=True) == "a-1.0.tar.gz"
    assert chosen(package("a", "py3-none-any", sdist=True), no_binary_package=("a",)) == "a-1.0.tar.gz"
    assert chosen(package("a", source=PathSource(path="a", editable=True))) is None


@pytest.mark.parametrize(
    ("found", "settings", "explanation"),
    [
        (
            package("a", "cp311-cp311-win_amd64", "cp310-abi3-macosx_11_0_arm64"),
            {},
            "`a` 1.0: there are wheels for `cp310-abi3` on `macosx_11_0_arm64`, "
            "`cp311-cp311` on `win_amd64`, and no sdist to build from",
        ),
        (
            package("a", sdist=True),
            {"no_build": True},
            "`a` 1.0: there are no wheels; it has an sdist, but `no-build` forbids to build it",
        ),
        (package("a", sdist=True), {"no_build_package": ("a",)}, "`no-build` forbids"),
        (
            package("a", "py3-none-any"),
            {"no_binary": True},
            "`no-binary` wants it built, and there is no sdist",
        ),
        (package("a"), {}, "no file of it at all"),
    ],
)
def test_what_cannot_be_had_is_explained(found: LockedPackage, settings: Any, explanation: str) -> None:
    with pytest.raises(LockError) as caught:
        chosen(found, **settings)
    assert caught.value.reference == "no-artifact"
    assert explanation in caught.value.details[0]


def test_all_packages_without_a_file_are_told_at_once() -> None:
    with pytest.raises(LockError, match=r"^2 packages have no file") as caught:
        select(lock(package("a"), package("b"), package("c", "py3-none-any")), LINUX, EVERYTHING)
    assert len(caught.value.details) == 2


def test_another_python_or_platform_than_locked_is_refused() -> None:
    with pytest.raises(InterpreterError, match=r"the lock is for Python `>=3\.12`, and .* is 3\.11\.7"):
        select(lock(requires_python=SpecifierSet(">=3.12")), LINUX, EVERYTHING)
    with pytest.raises(InterpreterError, match=r"`a` 1\.0 is for Python"):
        select(lock(package("a", "py3-none-any", requires_python=SpecifierSet("<3.11"))), LINUX, EVERYTHING)
    narrowed = lock(environments=(Marker("sys_platform == 'win32'"),))
    with pytest.raises(InterpreterError, match="not for this platform"):
        select(narrowed, LINUX, EVERYTHING)
    assert select(narrowed, WINDOWS, EVERYTHING) == ()


def test_a_prerelease_of_python_is_accepted_as_its_version() -> None:
    environment = {**LINUX.marker_environment, "python_full_version": "3.15.0a1", "python_version": "3.15"}
    assert select(lock(), replace(LINUX, marker_environment=environment), EVERYTHING) == ()


def test_declared_conflicts_are_refused_only_together() -> None:
    settings = ResolutionSettings(conflicts=(("extra:fast", "extra:slow", "group:test"),))
    select(lock(), LINUX, selection(extras="fast", groups="dev"), settings=settings)
    with pytest.raises(UsageError, match="extra `fast` and group `test` are declared as conflicting"):
        select(lock(), LINUX, selection(extras="fast", groups="test"), settings=settings)


def test_two_answers_for_one_name_are_refused() -> None:
    one, other = package("a", "py3-none-any"), package("a", "py3-none-any", version="2.0")
    with pytest.raises(LockError, match=r"two answers for `a` here: 1\.0 and 2\.0"):
        select(lock(one, other), LINUX, EVERYTHING)


def edge(
    name: str, extras: str = "", extra: str | None = None, marker: str | None = None
) -> LockedDependency:
    return LockedDependency(
        name=canonicalize_name(name),
        extras=tuple(map(canonicalize_name, extras.split())),
        extra=None if extra is None else canonicalize_name(extra),
        marker=None if marker is None else Marker(marker),
    )


def test_only_a_group_leaves_out_what_the_project_alone_needs() -> None:
    locked = lock(
        package("web", "py3-none-any"),
        package("shared", "py3-none-any"),
        package(
            "tester",
            "py3-none-any",
            dependencies=(
                edge("shared"),
                edge("pretty", extra="color"),
                edge("win", marker="os_name == 'nt'"),
            ),
        ),
        package("pretty", "py3-none-any"),
        package("win", "py3-none-any"),
        root_dependencies=(edge("web"), edge("shared")),
        group_dependencies={"test": (edge("tester"),), "dev": (edge("tester", extras="color"),)},
    )
    assert names(locked, LINUX, selection(groups="test", dependencies=False)) == ["shared", "tester"]
    assert names(locked, LINUX, selection(groups="dev", dependencies=False)) == ["pretty", "shared", "tester"]
    assert names(locked, WINDOWS, selection(groups="test", dependencies=False)) == ["shared", "tester", "win"]

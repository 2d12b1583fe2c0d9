"""The locked graph as a tree, both ways."""

from __future__ import annotations

import pytest
from packaging.markers import Marker
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from pypm.errors import UsageError
from pypm.model.artifact import Sha256
from pypm.model.lock import Lock, LockedDependency, LockedPackage
from pypm.model.project import IndexSource
from pypm.workflow.changes import compare
from pypm.workflow.tree import reverse_tree, tree


def dependency(name: str, **fields: object) -> LockedDependency:
    return LockedDependency(name=canonicalize_name(name), **fields)  # type: ignore[arg-type]


def package(name: str, version: str, *dependencies: LockedDependency) -> LockedPackage:
    return LockedPackage(
        name=canonicalize_name(name),
        version=version,
        source=IndexSource(index="default"),
        dependencies=dependencies,
    )


def lock(*packages: LockedPackage, roots: tuple[LockedDependency, ...] = ()) -> Lock:
    return Lock(
        content_hash=Sha256("0" * 64),
        requires_python=SpecifierSet(">=3.10"),
        packages=packages,
        root_dependencies=roots,
        group_dependencies={canonicalize_name("dev"): (dependency("d"),)},
    )


GRAPH = lock(
    package("a", "1", dependency("b"), dependency("c", marker=Marker("sys_platform == 'linux'"))),
    package("b", "2", dependency("d")),
    package("c", "3", dependency("b")),
    package("d", "4", dependency("a")),
    roots=(dependency("a"), dependency("b")),
)


def told(lines: object) -> list[str]:
    return [f"{'  ' * line.depth}{line.name} {line.version} {line.note}".rstrip() for line in lines]  # type: ignore[attr-defined]


def test_each_package_is_told_once_in_full_even_in_a_cycle() -> None:
    assert told(tree(GRAPH)) == [
        "a 1",
        "  b 2",
        "    d 4",
        "      a 1 (*)",
        '  c 3 sys_platform == "linux"',
        "    b 2 (*)",
        "b 2 (*)",
        "d 4 group dev; (*)",
    ]


def test_depth_limits_the_levels() -> None:
    assert told(tree(GRAPH, depth=0))[:2] == ["a 1", "b 2"]


def test_inverted() -> None:
    assert told(reverse_tree(GRAPH, "D"))[:3] == ["d 4", "  b 2", "    a 1"]
    with pytest.raises(UsageError):
        list(reverse_tree(GRAPH, "nope"))


def test_changes_between_two_locks() -> None:
    before = lock(package("a", "1"), package("b", "1"), package("c", "1"), package("c", "2"))
    after = lock(package("a", "1"), package("b", "2"), package("c", "2"), package("d", "1"))
    changes = compare(before, after)
    assert [(change.sign, str(change)) for change in changes] == [
        ("~", "b 1 -> 2"),
        ("~", "c 1, 2 -> 2"),
        ("+", "d 1"),
    ]
    assert [str(change) for change in compare(after, before)][-1] == "d 1"
    assert compare(None, after)[0].sign == "+"

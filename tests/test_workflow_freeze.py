"""From a resolution to a lock: deterministic, sorted, and without wheels that no Python can use."""

from __future__ import annotations

import random
from datetime import datetime, timezone
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from pypm.codec.pyproject import parse_project
from pypm.model.artifact import IndexFile, Sha256
from pypm.model.candidate import Candidate, CandidateMetadata
from pypm.model.project import DEFAULT_INDEX_NAME, IndexSource
from pypm.model.resolution import Edge, Pin, Resolution
from pypm.workflow.dates import absolute, end_of, is_duration
from pypm.workflow.freeze import can_serve, freeze

PROJECT = parse_project(
    b"""
    [project]
    name = "p"
    version = "1"
    requires-python = ">=3.10"
    dependencies = ["a"]
    """.replace(b"\n    ", b"\n"),
    root=Path("/p"),
)


@pytest.mark.parametrize(
    ("filename", "serves"),
    [
        ("a-1-py3-none-any.whl", True),
        ("a-1-py2.py3-none-any.whl", True),
        ("a-1-py2-none-any.whl", False),
        ("a-1-cp27-cp27mu-manylinux1_x86_64.whl", False),
        ("a-1-cp39-cp39-manylinux1_x86_64.whl", False),
        ("a-1-cp39-abi3-manylinux1_x86_64.whl", True),
        ("a-1-cp310-cp310-win_amd64.whl", True),
        ("a-1-cp313-cp313t-macosx_11_0_arm64.whl", True),
        ("a-1-pp39-pypy39_pp73-linux_x86_64.whl", False),
        ("a-1-pp310-pypy310_pp73-linux_x86_64.whl", True),
        ("a-1-cp36-none-any.whl", True),
        ("a-1-py36-none-any.whl", True),
        ("not-a-wheel.zip", False),
    ],
)
def test_wheels_for_no_python_of_the_project_are_left_out(filename: str, serves: bool) -> None:
    assert can_serve(filename, SpecifierSet(">=3.10")) is serves


def pin(name: str, version: str, *edges: Edge, files: tuple[str, ...] = ()) -> Pin:
    made = [IndexFile(filename=file, url=f"https://x/{file}", sha256=Sha256("a" * 64)) for file in files]
    return Pin(
        candidate=Candidate(
            name=canonicalize_name(name),
            version=Version(version),
            source=IndexSource(index=DEFAULT_INDEX_NAME),
            wheels=tuple(file for file in made if file.filename.endswith(".whl")),
            sdists=tuple(file for file in made if not file.filename.endswith(".whl")),
        ),
        metadata=CandidateMetadata(
            name=canonicalize_name(name),
            version=Version(version),
            requires_dist=(Requirement("b"),),
            requires_python=None,
        ),
        marker=None,
        edges=edges,
    )


def edge(name: str, version: str) -> Edge:
    return Edge(name=canonicalize_name(name), version=version, marker=None)


def test_equal_answers_in_any_order_give_equal_locks() -> None:
    files = ("b-2-py3-none-any.whl", "b-2-cp310-cp310-win_amd64.whl", "b-2.tar.gz", "b-2.zip")
    pins = [
        pin("a", "1", edge("b", "2"), edge("c", "1")),
        pin("b", "2", files=files),
        pin("b", "1", files=("b-1-py2-none-any.whl",)),
        pin("c", "1"),
    ]
    locks = []
    for seed in range(5):
        random.Random(seed).shuffle(pins)
        resolution = Resolution(pins=tuple(pins), root_edges=(edge("a", "1"),))
        locks.append(
            freeze(
                PROJECT,
                resolution,
                content_hash=Sha256("0" * 64),
                exclude_newer=None,
                path_hint=lambda pin, file: None,
            )
        )
    assert all(lock == locks[0] for lock in locks)
    a, b1, b2, c = locks[0].packages
    assert [(package.name, package.version) for package in (a, b1, b2, c)] == [
        ("a", "1"),
        ("b", "1"),
        ("b", "2"),
        ("c", "1"),
    ]
    assert [wheel.filename for wheel in b2.wheels] == sorted(files[:2])
    assert b2.sdist is not None
    assert b2.sdist.filename == "b-2.tar.gz"
    assert b1.wheels == ()
    assert [(dependency.name, dependency.version) for dependency in a.dependencies] == [
        ("b", "2"),
        ("c", None),
    ]
    assert [index.name for index in locks[0].indexes] == [DEFAULT_INDEX_NAME]
    assert locks[0].indexes[0].url is None


NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("limit", "moment", "counts_back"),
    [
        ("7 days", "2026-02-22T12:00:00Z", True),
        ("1 day", "2026-02-28T12:00:00Z", True),
        ("P1W", "2026-02-22T12:00:00Z", True),
        ("PT36H", "2026-02-28T00:00:00Z", True),
        ("2 months", "2025-12-31T12:00:00Z", True),
        ("2026-01-31", "2026-01-31", False),
        ("2026-01-31T00:00:00Z", "2026-01-31T00:00:00Z", False),
    ],
)
def test_date_limits(limit: str, moment: str, counts_back: bool) -> None:
    assert is_duration(limit) is counts_back
    assert absolute(limit, now=lambda: NOW) == moment


@pytest.mark.parametrize(
    ("limit", "end"),
    [
        ("2026-01-31", "2026-02-01T00:00:00Z"),
        ("2026-01-31T00:00:00Z", "2026-01-31T00:00:00Z"),
        ("2026-01-31T10:00:00+02:00", "2026-01-31T10:00:00+02:00"),
    ],
)
def test_a_date_alone_includes_its_day(limit: str, end: str) -> None:
    assert end_of(limit) == end

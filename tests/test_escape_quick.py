"""The quick part of the attack suite, and that its verdicts mean something; `make escape` runs all of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import sandbox
from integration.escape.arena import Arena
from integration.escape.harness import Check, Result, attacks, attempt, attempt_all, limit_of, read, split
from pypm.files import remove_tree

QUICK = (
    "device_attributes",
    "listed_address",
    "listed_dns_tunnel",
    "listed_metadata",
    "listed_odd_tcp",
    "listed_other_port",
    "listed_rebinding",
    "listed_server_name",
    "environment_writes",
    "files_left_behind",
    "followed_links",
    "home_secrets",
    "kernel_settings",
    "kernel_surface",
    "magic_links",
    "mount_tree",
    "network",
    "odd_sockets",
    "other_memory",
    "path_dependency",
    "pid1_tells",
    "privileges",
    "project_decisions",
    "protected_socket",
    "readonly_fifo",
    "self_granted",
    "socket_as_stream",
    "store_metadata",
    "terminal_input",
)


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    host = sandbox.probe()
    if not host.namespaces:
        pytest.skip(f"no namespaces here: {host.cause}")
    place = Path(tempfile.mkdtemp(prefix="escape-")).resolve()
    place.chmod(0o755)
    made = Arena(place=place)
    try:
        made.make()
        yield made
    finally:
        remove_tree(place)


@pytest.mark.parametrize("name", QUICK)
def test_the_attack_is_denied_and_its_neighbour_works(arena: Arena, name: str) -> None:
    result = attempt(arena, attacks([name])[0], "run")
    wrong = [check for check in result.checks if check.verdict not in ("denied", "works")]
    assert not wrong
    assert {"denied", "works"} <= {check.verdict for check in result.checks}
    assert result.verdict == "denied"


def test_a_limit_is_what_it_is_said_to_be_and_what_stands_beside_it_is_denied(arena: Arena) -> None:
    for limit in (attack for attack in attacks() if limit_of(attack)):
        result = attempt(arena, limit, "run")
        assert {check.verdict for check in result.checks} <= {"open", "denied", "works"}, result
        assert (result.verdict, result.limit) == ("open", limit_of(limit))


@pytest.mark.parametrize("way", ["build", "editable", "hook"])
def test_several_attacks_come_in_by_a_build_and_by_a_plugin(arena: Arena, way: str) -> None:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    chosen = attacks(["home_secrets", "pid1_tells", "kernel_surface"])
    results = list(attempt_all(arena, chosen, way))
    wrong = [
        check for result in results for check in result.checks if check.verdict not in ("denied", "works")
    ]
    assert not wrong
    assert [(result.attack, result.way, result.verdict) for result in results] == [
        (name, way, "denied") for name in ("home_secrets", "pid1_tells", "kernel_surface")
    ]


def test_what_several_attacks_print_is_told_apart_and_one_that_is_missing_is_silent() -> None:
    printed = b"@begin|a|\n@denied|x|1\n@done||\n@begin|b|\n@escaped|x|2\n"
    found = split(printed, ["a", "b", "c"])
    verdicts = {name: [check.verdict for check in checks] for name, checks in found.items()}
    assert verdicts == {"a": ["denied"], "b": ["escaped", "silent"], "c": ["silent"]}


def test_every_attack_tells_what_why_and_from_where() -> None:
    for attack in attacks():
        assert attack.__doc__ is not None and "Source:" in attack.__doc__, attack.__name__
        assert callable(attack.inside)
        assert bool(limit_of(attack)) == (".limits." in attack.__name__)


def test_the_document_names_every_limit_with_its_reason() -> None:
    document = Path(__file__).resolve().parent.parent / "docs" / "escape.md"
    text = document.read_text(encoding="utf-8")
    for limit in (attack for attack in attacks() if limit_of(attack)):
        assert f"| `{limit.__name__.rpartition('.')[2]}` |" in text
        assert f" {limit_of(limit)} |" in text


def test_an_attack_that_dies_on_its_way_is_no_denial() -> None:
    checks = read(b"@denied|one|x\r\nTraceback (most recent call last)")
    assert [check.verdict for check in checks] == ["denied", "silent"]
    assert Result(attack="a", way="run", checks=checks, seconds=0.0).verdict == "silent"
    assert Result(attack="a", way="run", checks=read(b""), seconds=0.0).verdict == "silent"


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (("denied", "works"), "denied"),
        (("denied", "escaped", "broken"), "escaped"),
        (("denied", "broken"), "broken"),
        (("works",), "silent"),
        (("denied", "open", "works"), "open"),
    ],
)
def test_the_worst_check_decides(verdicts: tuple[str, ...], expected: str) -> None:
    checks = tuple(Check(verdict=verdict, name="x", detail="") for verdict in verdicts)
    assert Result(attack="a", way="run", checks=checks, seconds=0.0).verdict == expected

"""A quick part of the attack suite under the Landlock rung, and that what it gives less is named.

`python -m integration.escape --landlock` runs all of it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import sandbox
from integration.escape import less
from integration.escape.arena import Arena
from integration.escape.harness import attacks, attempt

QUICK = {
    "home_secrets": "denied",
    "kernel_surface": "denied",
    "network": "less",
    "other_memory": "denied",
    "pid1_tells": "denied",
    "host_sockets": "less",
}


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    host = sandbox.probe()
    if not host.landlock:
        pytest.skip(f"no Landlock rung here: {host.landlock_cause}")
    place = Path(tempfile.mkdtemp(prefix="escape-")).resolve()
    place.chmod(0o755)
    made = Arena(place=place, landlock=True)
    try:
        made.make()
        yield made
    finally:
        shutil.rmtree(place)


@pytest.mark.parametrize("name", QUICK)
def test_the_attack_is_denied_or_what_is_less_is_named(arena: Arena, name: str) -> None:
    result = attempt(arena, attacks([name])[0], "run")
    assert result.verdict == QUICK[name], result
    assert "escaped" not in {check.verdict for check in result.checks}


def test_every_exception_belongs_to_an_attack() -> None:
    known = {attack.__name__.rpartition(".")[2] for attack in attacks()}
    assert set(less.LESS) | set(less.AS_ROOT_TOO) | set(less.AS_USER_TOO) <= known


def test_what_is_not_listed_is_no_exception() -> None:
    assert less.reason("home_secrets", "the secret", as_root=True) is None
    assert less.reason("fork_bomb", "200 processes", as_root=False) is None
    assert less.reason("fork_bomb", "200 processes", as_root=True) == less.AS_ROOT
    assert less.reason("privileges", "the bounding set", as_root=True) is None
    assert less.reason("privileges", "the bounding set", as_root=False) == less.BOUNDING


def test_the_document_has_the_list_of_the_harness() -> None:
    document = Path(__file__).resolve().parent.parent / "docs" / "escape.md"
    assert "\n".join(less.table()) in document.read_text(encoding="utf-8")

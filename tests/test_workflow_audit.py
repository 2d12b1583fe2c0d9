"""`pypm audit --lock`: what the index does not vouch for any more is named."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from pypm.cli.app import main
from pypm.codec.lockfile import dump_lock, load_lock
from pypm.digest import Sha256
from tests.support.index_server import Fault, IndexServer, lying, make_sdist, make_wheel

PROJECT = """\
[project]
name = "p"
version = "1"
requires-python = ">=3.10"
dependencies = ["alpha", "beta"]

[tool.pypm]
package = false
"""
ALPHA = make_wheel("alpha", "1.0")
BETA = make_wheel("beta", "1.0")
BETA_SDIST = make_sdist("beta", "1.0")


class Line:
    """The command line in a locked project."""

    def __init__(self, root: Path, server: IndexServer, capture: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.server = server
        self.capture = capture

    def __call__(self, *words: str, code: int = 0) -> tuple[str, str]:
        self.capture.readouterr()
        got = main(words)
        told = self.capture.readouterr()
        assert got == code, (got, told.out, told.err)
        return told.out, told.err

    def offer(self, *archives: object) -> None:
        self.server.remove("beta")
        if archives:
            self.server.add("beta", *archives)  # type: ignore[arg-type]

    def findings(self, code: int) -> list[tuple[str, str]]:
        answer = json.loads(self("audit", "--lock", "--json", code=code)[0])
        assert answer["artifacts"] == 3
        return [(one["what"], one["filename"]) for one in answer["findings"]]


@pytest.fixture
def pypm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Line]:
    with IndexServer() as server:
        server.add("alpha", ALPHA)
        server.add("beta", BETA, BETA_SDIST)
        root = tmp_path / "p"
        root.mkdir()
        (root / "pyproject.toml").write_text(PROJECT)
        monkeypatch.chdir(root)
        monkeypatch.setenv("PYPM_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("PYPM_DEFAULT_INDEX", server.url)
        line = Line(root, server, capfd)
        line("lock")
        yield line


def test_nothing_is_wrong_right_after_locking(pypm: Line) -> None:
    out, told = pypm("audit", "--lock")
    assert out == ""
    assert "Audited 3 artifacts of 2 packages" in told
    assert pypm.findings(0) == []


def test_a_changed_hash_is_named_although_the_cache_knows_the_old_page(pypm: Line) -> None:
    pypm.offer(lying(BETA, "cd" * 32), BETA_SDIST)
    assert pypm.findings(3) == [("changed", BETA.filename)]
    out, told = pypm("audit", code=3)
    assert "cd" * 32 in out
    assert "other files under locked names" in told


def test_vanished_files_and_projects_are_named(pypm: Line) -> None:
    pypm.offer(BETA)
    assert pypm.findings(1) == [("vanished", BETA_SDIST.filename)]
    pypm.offer()
    assert pypm.findings(1) == [("vanished", BETA.filename), ("vanished", BETA_SDIST.filename)]


def test_what_was_yanked_since_is_named_with_the_reason(pypm: Line) -> None:
    pypm.offer(dataclasses.replace(BETA, yanked="broken\n on Tuesdays"), BETA_SDIST)
    assert pypm.findings(1) == [("yanked", BETA.filename)]
    assert "broken on Tuesdays" in pypm("audit", code=1)[0]


def test_what_was_yanked_when_it_was_locked_is_no_news(pypm: Line) -> None:
    pypm.offer(dataclasses.replace(BETA, yanked="old"), dataclasses.replace(BETA_SDIST, yanked="old"))
    (pypm.root / "pyproject.toml").write_text(PROJECT.replace('"beta"', '"beta==1.0"'))
    pypm("lock", "--refresh")
    assert pypm.findings(0) == []


def test_a_swapped_hash_in_a_resealed_lock_is_caught(pypm: Line) -> None:
    path = pypm.root / "pypm.lock"
    lock = load_lock(path.read_bytes())
    alpha, *others = lock.packages
    wheels = tuple(replace(wheel, sha256=Sha256("ee" * 32)) for wheel in alpha.wheels)
    path.write_bytes(dump_lock(replace(lock, packages=(replace(alpha, wheels=wheels), *others))))
    assert pypm.findings(3) == [("changed", ALPHA.filename)]


def test_an_index_that_does_not_answer_vouches_for_nothing(pypm: Line) -> None:
    pypm.server.fault("/simple/beta/", Fault.status(403))
    out, told = pypm("audit", code=1)
    assert out == ""
    assert "error:" in told
    pypm("audit", "--offline", code=1)

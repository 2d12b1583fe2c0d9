"""Merkle roots in the lock: read by range, kept on relocking, and compared with what is unpacked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

import sandbox
from pypm.cli.app import main
from pypm.codec.lockfile import dump_lock, load_lock
from pypm.codec.manifest import load_header
from pypm.digest import Sha256
from pypm.model.lock import Lock
from tests.support.index_server import Fault, IndexServer, make_wheel

_host = sandbox.probe()
needs_sandbox = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")

PROJECT = """\
[project]
name = "p"
version = "1"
requires-python = ">=3.10"
dependencies = ["alpha"]

[tool.pypm]
package = false
"""
ENVIRONMENTS = "environments = [\"sys_platform == 'linux'\"]\n"


class Line:
    """The command line in a project that depends on `alpha`, which has a wheel for two platforms."""

    def __init__(self, root: Path, server: IndexServer, capture: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.server = server
        self.capture = capture

    def __call__(self, *words: str, code: int = 0) -> tuple[str, str]:
        self.capture.readouterr()
        got = main(words)
        told = self.capture.readouterr()
        assert got == code, (got, told.err)
        return told.out, told.err

    @property
    def lock(self) -> Lock:
        return load_lock((self.root / "pypm.lock").read_bytes())

    def roots(self) -> dict[str, str | None]:
        return {wheel.filename: wheel.merkle_root for wheel in self.lock.packages[0].wheels}

    def state(self, root: str) -> None:
        """Write another root into the lock, as who can make a lock-hash would."""
        (package,) = self.lock.packages
        wheels = tuple(replace(wheel, merkle_root=Sha256(root)) for wheel in package.wheels)
        forged = replace(self.lock, packages=(replace(package, wheels=wheels),))
        (self.root / "pypm.lock").write_bytes(dump_lock(forged))


@pytest.fixture
def pypm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Line]:
    with IndexServer() as server:
        padding = {"alpha/data.bin": bytes(range(256)) * 2000}
        server.add(
            "alpha",
            make_wheel("alpha", "1.0", files={"alpha/__init__.py": b"", **padding}),
            make_wheel("alpha", "1.0", tag="py3-none-win_amd64", files={"alpha/__init__.py": b"win\n"}),
        )
        root = tmp_path / "p"
        root.mkdir()
        (root / "pyproject.toml").write_text(PROJECT)
        monkeypatch.chdir(root)
        monkeypatch.setenv("PYPM_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("PYPM_DEFAULT_INDEX", server.url)
        yield Line(root, server, capfd)


PURE, WINDOWS = "alpha-1.0-py3-none-any.whl", "alpha-1.0-py3-none-win_amd64.whl"


def test_without_environments_roots_are_asked_for_by_name(pypm: Line) -> None:
    pypm("lock")
    assert pypm.roots() == {PURE: None, WINDOWS: None}
    _, told = pypm("lock", "--merkle")
    assert "2 of 2 wheels" in told
    assert all(re.fullmatch("[0-9a-f]{64}", root or "") for root in pypm.roots().values())
    asked = pypm.server.count()
    before = (pypm.root / "pypm.lock").read_bytes()
    pypm("lock", "--merkle")
    assert (pypm.root / "pypm.lock").read_bytes() == before
    assert pypm.server.count() == asked


def test_environments_decide_which_roots_are_stated(pypm: Line) -> None:
    (pypm.root / "pyproject.toml").write_text(PROJECT + ENVIRONMENTS)
    pypm("lock")
    roots = pypm.roots()
    assert roots[PURE] is not None
    assert roots.get(WINDOWS) is None


def test_roots_stay_when_the_project_changes(pypm: Line) -> None:
    pypm("lock", "--merkle")
    roots = pypm.roots()
    (pypm.root / "pyproject.toml").write_text(PROJECT.replace('"alpha"', '"alpha>=1"'))
    pypm("lock")
    assert pypm.roots() == roots


@needs_sandbox
def test_the_root_of_record_is_the_root_of_the_files(pypm: Line, tmp_path: Path) -> None:
    pypm("lock", "--merkle")
    pypm("sync", "--locked")
    (manifest,) = tmp_path.glob("cache/store-v1/??/*/manifest")
    found = load_header(manifest.read_bytes(), tree=manifest.parent).wheel.merkle_root
    assert found == pypm.roots()[PURE]
    out, _ = pypm("verify", "--json")
    assert '"lock": 1' in out


@needs_sandbox
def test_another_root_is_refused_when_unpacking_and_when_reusing(pypm: Line) -> None:
    pypm("lock", "--merkle")
    good = (pypm.root / "pypm.lock").read_bytes()
    pypm.state("ab" * 32)
    _, told = pypm("sync", "--locked", code=3)
    assert f"`{PURE}`" in told
    assert "Merkle root" in told
    assert not (pypm.root / ".venv").exists()
    (pypm.root / "pypm.lock").write_bytes(good)
    pypm("sync", "--locked")
    pypm.state("ab" * 32)
    _, told = pypm("sync", "--locked", code=3)
    assert "in the store have another Merkle root" in told
    pypm("run", "true", code=3)


def test_a_wheel_without_a_usable_record_has_no_root(pypm: Line) -> None:
    pypm("lock")
    pypm.server.fault(f"/files/{PURE}", Fault(body=b"this is no wheel", ignore_range=True))
    _, told = pypm("lock", "--merkle")
    assert "1 of 2 wheels" in told
    assert f"`{PURE}` has no readable RECORD" in told
    assert pypm.roots()[PURE] is None

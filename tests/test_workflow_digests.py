"""The environment's digest: the same in every folder and cache, told apart by the interpreter alone."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import sandbox
from pypm.cli.app import main
from pypm.codec.manifest import load_header
from pypm.environment.interpreters import find_all
from pypm.model.target import Interpreter
from tests.support.index_server import IndexServer, make_wheel
from tests.test_codec_merkle import naive

_host = sandbox.probe()
pytestmark = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")

PROJECT = """\
[project]
name = "p"
version = "1"
requires-python = ">=3.10"
dependencies = ["alpha", "beta"]

[tool.pypm]
package = false
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with IndexServer() as server:
        server.add("alpha", make_wheel("alpha", "1.0", files={"alpha/__init__.py": b"VALUE = 1\n"}))
        server.add("beta", make_wheel("beta", "2.0", files={"beta/__init__.py": b"VALUE = 2\n"}))
        monkeypatch.setenv("PYPM_DEFAULT_INDEX", server.url)
        root = tmp_path / "one"
        root.mkdir()
        (root / "pyproject.toml").write_text(PROJECT)
        yield root


def synced(root: Path, cache: Path, interpreter: Interpreter, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    words = ["sync", "--json", "--project", str(root), "--cache-dir", str(cache)]
    assert main([*words, "--python", str(interpreter.executable)]) == 0
    return str(json.loads(capsys.readouterr().out)["digest"])


def leaves_of(cache: Path) -> list[bytes]:
    """What `docs/merkle.md` says of each wheel in the store."""
    manifests = sorted(cache.glob("store-v1/??/*/manifest"))
    wheels = [load_header(path.read_bytes(), tree=path.parent).wheel for path in manifests]
    return sorted(
        b"wheel\0%b\0%b\0%b" % (one.name.encode(), str(one.version).encode(), bytes.fromhex(one.merkle_root))
        for one in wheels
    )


def test_folders_and_caches_make_no_difference(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interpreter = next(find_all(tmp_path / "interpreters"))
    first = synced(project, tmp_path / "cache", interpreter, capsys)
    other = tmp_path / "two words" / "größer"
    other.parent.mkdir()
    shutil.copytree(project, other, ignore=shutil.ignore_patterns(".venv"))
    assert synced(other, tmp_path / "another cache", interpreter, capsys) == first


def test_patch_releases_differ_by_their_identity_alone(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = patch_releases(tmp_path)
    if pair is None:
        pytest.skip("this machine has no two patch releases of one Python")
    found = []
    for number, interpreter in enumerate(pair):
        cache = tmp_path / f"cache-{number}"
        digest = synced(project, cache, interpreter, capsys)
        leaves = leaves_of(cache)
        identity = b"interpreter\0" + interpreter.identity.encode()
        assert digest == "sha256:" + naive([identity, *leaves]).hex()
        found.append((digest, leaves))
    (first, first_leaves), (second, second_leaves) = found
    assert first_leaves == second_leaves
    assert len(first_leaves) == 2
    assert first != second


def patch_releases(folder: Path) -> tuple[Interpreter, Interpreter] | None:
    """Two interpreters of one minor version and different patch releases."""
    fitting = [one for one in find_all(folder / "interpreters") if one.version.startswith("3.1")]
    return next(
        (
            (first, second)
            for first, second in itertools.combinations(fitting, 2)
            if first.cache_tag == second.cache_tag and first.version != second.version
        ),
        None,
    )

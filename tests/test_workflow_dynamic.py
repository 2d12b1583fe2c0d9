"""Projects that leave their dependencies to their build, and those that have them in another tool's words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pypm.codec.lockfile import load_lock
from sandbox import probe
from tests.support.index_server import IndexServer, make_wheel

_host = probe()
needs_sandbox = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")

BACKEND = """
from pathlib import Path

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    raise RuntimeError("not asked for")

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    folder = Path(metadata_directory) / "demo-1.dist-info"
    folder.mkdir()
    lines = ["Metadata-Version: 2.1", "Name: demo", "Version: 1", *Path("needs.txt").read_text().splitlines()]
    (folder / "METADATA").write_text("\\n".join(lines) + "\\n")
    return folder.name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "demo"
version = "1"
dynamic = ["dependencies", "optional-dependencies"]
"""
NEEDS = """\
Provides-Extra: more
Requires-Dist: a>=1
Requires-Dist: b ; sys_platform == "linux" and extra == "more"
Requires-Dist: a<2 ; extra == "more"
"""


def lock(folder: Path, server: IndexServer, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYPM_")}
    environ |= {
        "PYPM_CACHE_DIR": str(folder.parent / "cache"),
        "PYPM_DEFAULT_INDEX": server.url,
        "NO_COLOR": "1",
    }
    argv = [sys.executable, "-m", "pypm", "--no-progress", "lock", *words]
    return subprocess.run(
        argv, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "needs.txt").write_text(NEEDS)
    return folder


@needs_sandbox
def test_what_a_build_says_is_locked_with_its_extras_and_locked_anew_when_it_changes(project: Path) -> None:
    with IndexServer() as server:
        for name in ("a", "b", "c"):
            for version in ("1.0", "2.0"):
                server.add(name, make_wheel(name, version))
        done = lock(project, server)
        assert done.returncode == 0, done.stderr
        first = load_lock((project / "pypm.lock").read_bytes())
        (project / "needs.txt").write_text("Requires-Dist: c\n")
        assert lock(project, server, "--check").returncode == 1
        assert lock(project, server).returncode == 0
    assert {(one.name, one.version, str(one.marker)) for one in first.packages} == {
        ("a", "1.0", "None"),
        ("b", "2.0", 'sys_platform == "linux" and "more" in extras'),
    }
    assert [one.name for one in load_lock((project / "pypm.lock").read_bytes()).packages] == ["c"]


def test_a_project_of_poetry_is_told_how_it_is_taken_over(tmp_path: Path) -> None:
    dependencies = '[tool.poetry.dependencies]\npython = "^3.10"\na = "^1"\n'
    text = f'[tool.poetry]\nname = "demo"\nversion = "1"\n{dependencies}'
    (tmp_path / "pyproject.toml").write_text(text)
    with IndexServer() as server:
        server.add("a", make_wheel("a", "1.0"))
        done = lock(tmp_path, server)
        assert done.returncode == 1
        assert "lists its dependencies in `[tool.poetry]`" in done.stderr
        assert "hint: `pypm init --from pyproject.toml`" in done.stderr
        taken = [sys.executable, "-m", "pypm", "init", "--from", "pyproject.toml"]
        subprocess.run(taken, cwd=tmp_path, check=True, capture_output=True)
        assert lock(tmp_path, server).returncode == 0
    assert [one.name for one in load_lock((tmp_path / "pypm.lock").read_bytes()).packages] == ["a"]

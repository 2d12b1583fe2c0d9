"""The code of a fast start in one file: served while it is that of the sources, and never missed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STARTING = """\
import json, sys
sys.path.insert(0, sys.argv[1])
from pypm import launch
from pypm.bundle import install
bundle = install(launch.__spec__.cached)
import pypm.paths, pypm.workflow
bundle.keep()
print(json.dumps({
    "served": sorted(name for name, module in sys.modules.items() if type(module.__loader__).__name__ == "_Loader"),
    "file": pypm.paths.__file__, "cached": pypm.paths.__cached__, "path": list(pypm.workflow.__path__),
    "marker": getattr(pypm.paths, "MARKER", None),
}))
"""  # noqa: E501 - a program


@pytest.fixture
def distribution(tmp_path: Path) -> Path:
    """As much of an installed pypm as a start needs, in a folder that may be written."""
    checkout = Path(__file__).resolve().parent.parent
    for name in ("__init__.py", "bundle.py", "launch.py", "paths.py", "workflow/__init__.py"):
        copy = tmp_path / "pypm" / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes((checkout / "pypm" / name).read_bytes())
    return tmp_path


def start(distribution: Path, **variables: str) -> dict[str, object]:
    environ = {"PATH": os.environ["PATH"], **variables}
    command = [sys.executable, "-S", "-c", STARTING, str(distribution)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def bundle_of(distribution: Path) -> Path:
    return distribution / "pypm" / "__pycache__" / f"launch.{sys.implementation.cache_tag}.bundle"


def test_the_second_start_is_served_and_sees_the_same_modules(distribution: Path) -> None:
    first, second = start(distribution), start(distribution)
    assert first["served"] == []
    assert second["served"] == ["pypm.paths", "pypm.workflow"]
    assert {**first, "served": None} == {**second, "served": None}


def test_an_edited_module_is_not_served_and_is_kept_anew(distribution: Path) -> None:
    start(distribution)
    source = distribution / "pypm" / "paths.py"
    source.write_text(source.read_text() + "\nMARKER = 1\n")
    second, third = start(distribution), start(distribution)
    assert (second["served"], second["marker"]) == (["pypm.workflow"], 1)
    assert (third["served"], third["marker"]) == (["pypm.paths", "pypm.workflow"], 1)


def test_a_touched_module_is_not_served(distribution: Path) -> None:
    start(distribution)
    os.utime(distribution / "pypm" / "paths.py", ns=(1, 1))
    assert start(distribution)["served"] == ["pypm.workflow"]


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\xe3", b"i\x01\x00\x00\x00"])
def test_a_damaged_bundle_is_written_over(distribution: Path, content: bytes) -> None:
    start(distribution)
    bundle_of(distribution).write_bytes(content)
    assert start(distribution)["served"] == []
    assert start(distribution)["served"] == ["pypm.paths", "pypm.workflow"]


def test_another_pypm_is_not_served(distribution: Path) -> None:
    start(distribution)
    version = distribution / "pypm" / "__init__.py"
    version.write_text('__version__ = "0.0.1"\n')
    assert start(distribution)["served"] == []


def test_where_no_bytecode_is_wanted_there_is_no_bundle(distribution: Path) -> None:
    start(distribution, PYTHONDONTWRITEBYTECODE="1")
    assert not (distribution / "pypm" / "__pycache__").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write every folder")
def test_a_folder_that_cannot_be_written_costs_speed_only(distribution: Path) -> None:
    start(distribution, PYTHONDONTWRITEBYTECODE="1")
    (distribution / "pypm").chmod(0o555)
    try:
        assert start(distribution)["served"] == []
    finally:
        (distribution / "pypm").chmod(0o755)

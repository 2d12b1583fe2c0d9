"""`pypm plugin`, through the command line."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from pypm.cli.app import main
from tests.plugins.bench import needs_compiler, needs_sandbox

PROJECT = "[project]\nname = 'p'\nversion = '1'\nrequires-python = '>=3.10'\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "plugins").mkdir()
    return tmp_path


def use(root: Path, settings: str) -> None:
    (root / "pyproject.toml").write_text(PROJECT + settings)


def test_list(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    use(here, "[tool.pypm]\nplugins = ['b', 'missing']\n")
    for name in "ab":
        (here / "plugins" / f"pypm_{name}.so").write_bytes(name.encode())
    assert main(["plugin", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    mine = [(row["name"], row["enabled"], row["path"]) for row in rows if "native" not in (row["path"] or "")]
    assert mine == [
        ("b", True, str(here / "plugins" / "pypm_b.so")),
        ("missing", True, None),
        ("a", False, str(here / "plugins" / "pypm_a.so")),
    ]
    assert main(["plugin", "list"]) == 0
    listed = capsys.readouterr().out
    assert "missing     not installed" in listed
    assert "b           used" in listed
    assert "a           not used here" in listed


@needs_sandbox
@needs_compiler
def test_new_compiles_passes_its_test_and_is_checked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugin", "new", "big-wheels"]) == 0
    folder = here / "big-wheels"
    assert {path.name for path in folder.iterdir()} == {
        "pypm_big_wheels.c", "test_big_wheels.c", "Makefile", "pypm_plugin.h",
    }  # fmt: skip
    # A make that runs the tests passes its own flags on; a user has none.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    made = subprocess.run(["make"], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert made.stdout.endswith("ok\n")
    assert "the wheel has 200 MB" in made.stdout
    built = folder / "pypm_big_wheels.so"
    capsys.readouterr()
    assert main(["plugin", "check", str(built), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["version"]) == ("big-wheels", "0.1.0")
    assert facts["stages"] == ["post-fetch"]
    assert facts["permissions"] == ["read:packages"]
    built.rename(here / "plugins" / built.name)
    use(here, "[tool.pypm]\nplugins = ['big-wheels']\n")
    assert main(["plugin", "check", "big-wheels"]) == 1
    told = capsys.readouterr()
    assert "stages       post-fetch" in told.out
    assert 'allow-read = ["packages"]' in told.err
    use(here, "[tool.pypm.plugins.big-wheels]\nallow-read = ['packages']\n")
    assert main(["plugin", "check", "big-wheels"]) == 0


def test_new_writes_over_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "x").mkdir()
    (here / "x" / "kept").touch()
    assert main(["plugin", "new", "x"]) == 2
    assert main(["plugin", "new", "../x"]) == 1
    assert main(["plugin", "check", "nothing"]) == 1
    assert "the plugin `nothing` is not installed" in capsys.readouterr().err

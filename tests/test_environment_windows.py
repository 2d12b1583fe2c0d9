"""Environments in the layout of Windows, made on any machine: folders, launchers, scripts."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

import pytest
from msgspec.structs import replace

from pypm.environment import windows
from pypm.environment.activation import activation_scripts
from pypm.environment.expectation import expected_files, generated_anew
from pypm.environment.overlay import describe
from pypm.environment.scripts import shebang
from pypm.environment.writer import write
from pypm.errors import InterpreterError
from pypm.files import remove_tree
from pypm.model.target import Interpreter
from pypm.paths import Cache
from pypm.store.inside.layout import Scheme, Wheel, place, startup_carrier
from tests.support import wheels

PYTHON = PureWindowsPath(r"C:\my projects\demo\.venv\Scripts\python.exe")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    yield Cache(tmp_path / "cache")
    remove_tree(tmp_path / "cache")


@pytest.fixture
def interpreter(tmp_path: Path) -> Interpreter:
    """A Python for Windows, as far as an environment is concerned."""
    stdlib = tmp_path / "Python" / "Lib"
    (stdlib / "venv" / "scripts" / "nt").mkdir(parents=True)
    (stdlib / "venv" / "scripts" / "nt" / "venvlauncher.exe").write_bytes(b"MZ starter")
    (stdlib / "ensurepip" / "_bundled").mkdir(parents=True)
    with zipfile.ZipFile(stdlib / "ensurepip" / "_bundled" / "pip-25.0-py3-none-any.whl", "w") as pip:
        pip.writestr("pip/_vendor/distlib/t64.exe", b"MZ launcher")
    return replace(wheels.interpreter(), platform="win-amd64", stdlib=stdlib)


def test_the_layout_is_that_of_windows(interpreter: Interpreter) -> None:
    assert interpreter.site_packages == "Lib/site-packages"
    assert (interpreter.programs, interpreter.program) == ("Scripts", "Scripts/python.exe")
    posix = wheels.interpreter()
    assert posix.site_packages == f"lib/{posix.python_tag}/site-packages"
    assert (posix.programs, posix.program) == ("bin", "bin/python")


def test_an_environment_without_wheels(cache: Cache, interpreter: Interpreter, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    environment = describe(interpreter, [], tmp_path / "project" / ".venv", cache=cache.root)
    write(environment)
    location = environment.location
    assert (location / "Scripts" / "python.exe").read_bytes() == b"MZ starter"
    assert (location / "Lib" / "site-packages").is_dir()
    assert not (location / "bin").exists() and not (location / "lib64").is_symlink()
    names = {path.name for path in (location / "Scripts").iterdir()}
    assert {"activate.bat", "deactivate.bat", "Activate.ps1"} <= names
    with generated_anew(environment, cache.scratch) as generated:
        assert "Scripts/python.exe" in expected_files(environment, generated)


def test_a_program_is_launcher_line_and_archive() -> None:
    script = shebang(Path("/x/python")) + b"import sys\nsys.exit(3)\n"
    made = windows.launched_program(script, b"MZ launcher", PYTHON)
    assert made == windows.launched_program(script, b"MZ launcher", PYTHON)
    assert made.startswith(b'MZ launcher#!"' + str(PYTHON).encode() + b'"\r\n')
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.read("__main__.py") == b"import sys\nsys.exit(3)\n"


def test_a_first_line_that_a_shell_reads_is_left_out_too() -> None:
    script = shebang(Path("/a b/python")) + b"print(1)\n"
    assert script.startswith(b"#!/bin/sh\n")
    with zipfile.ZipFile(io.BytesIO(windows.launched_program(script, b"MZ", PYTHON))) as archive:
        assert archive.read("__main__.py") == b"print(1)\n"


@pytest.mark.parametrize(
    ("name", "expected"), [("tool", "tool.exe"), ("tool.py", "tool.exe"), ("f2py3.11", "f2py3.11.exe")]
)
def test_names_of_launchers(name: str, expected: str) -> None:
    assert windows.launcher_name(name) == expected
    assert list(windows.launched({name: b"#!x\n"}, b"MZ", PYTHON)) == [expected]
    assert windows.launched({name: b"MZ"}, b"MZ", PYTHON) == {name: b"MZ"}, "no Python script, so as it is"


def test_a_python_without_its_parts_is_told(interpreter: Interpreter, tmp_path: Path) -> None:
    bare = replace(interpreter, stdlib=tmp_path)
    with pytest.raises(InterpreterError, match="has no `venv`"):
        windows.interpreters(bare)
    with pytest.raises(InterpreterError, match="no launcher"):
        windows.program_launcher(bare)


def test_scripts_of_wheels_go_to_the_folder_of_windows() -> None:
    scheme = Scheme("Lib/site-packages", "include/site/python3.11", "Scripts")
    assert place("w-1.data/scripts/tool.exe", Wheel("w-1"), scheme) == ("Scripts/tool.exe", True)
    assert place("w/__init__.py", Wheel("w-1"), scheme) == ("Lib/site-packages/w/__init__.py", False)
    assert startup_carrier("Lib/site-packages/x.pth", scheme)
    assert startup_carrier("Scripts/git", scheme) and not startup_carrier("bin/git", scheme)


def test_activation_for_the_command_interpreter() -> None:
    scripts = activation_scripts(Path("/work/100% demo/.venv"), "100% demo", "Scripts")
    batch = scripts["activate.bat"]
    assert batch.count("\r\n") == batch.count("\n")
    assert 'set "VIRTUAL_ENV=/work/100%% demo/.venv"' in batch
    assert 'set "PATH=%VIRTUAL_ENV%\\Scripts;%PATH%"' in batch
    assert "'Scripts'" in scripts["Activate.ps1"] and '"$VIRTUAL_ENV/Scripts:$PATH"' in scripts["activate"]
    assert "activate.bat" not in activation_scripts(Path("/x"), "x")

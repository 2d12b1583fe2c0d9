"""Interpreters: found in the order that users expect, asked once, described as they describe themselves."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.specifiers import SpecifierSet
from packaging.tags import sys_tags

from pypm.environment import inquiry
from pypm.environment.inquiry import ask, describe
from pypm.environment.interpreters import (
    find_all,
    find_interpreter,
    parse_request,
    read_version_file,
)
from pypm.errors import InterpreterError

ANY = SpecifierSet(">=3.8")
REAL = Path(sys.executable).resolve()


def shim(folder: Path, name: str, target: Path | None = None) -> Path:
    """A launcher as pyenv's: a shell script that starts the real interpreter."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(
        f'#!/bin/sh\nexec "{target}" "$@"\n' if target else "#!/bin/sh\necho broken >&2\nexit 3\n"
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def only_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `PATH` of one folder, and no version manager."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path / "bin"


def test_it_describes_itself_as_packaging_would(tmp_path: Path) -> None:
    found = ask(Path(sys.executable), tmp_path)
    assert found.executable == REAL
    assert list(found.target.tags) == [str(tag) for tag in sys_tags()]
    assert dict(found.target.marker_environment) == dict(default_environment())
    assert found.base_prefix == Path(sys.base_prefix).resolve()
    assert found.cache_tag == sys.implementation.cache_tag
    assert found.version in found.identity
    assert found.platform in found.identity
    assert str(tmp_path) not in found.identity
    assert str(found.base_prefix) not in found.identity


@pytest.mark.parametrize("copies", [True, False])
def test_a_virtual_environment_leads_to_its_interpreter(tmp_path: Path, copies: bool) -> None:
    command = [
        sys.executable,
        "-m",
        "venv",
        "--without-pip",
        *(["--copies"] if copies else []),
        str(tmp_path / "v"),
    ]
    subprocess.run(command, check=True)
    found = find_interpreter(ANY, str(tmp_path / "v"), tmp_path / "cache")
    assert found.executable.parent == REAL.parent
    assert found.base_prefix == Path(sys.base_prefix).resolve()


def test_an_answer_is_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(Path(sys.executable), tmp_path)
    asked = []
    run = inquiry._run
    monkeypatch.setattr(inquiry, "_run", lambda executable: asked.append(executable) or run(executable))
    assert ask(Path(sys.executable), tmp_path) == first
    assert asked == []
    monkeypatch.setattr(inquiry, "_stamp", lambda real: ["another"])
    assert ask(Path(sys.executable), tmp_path) == first
    assert len(asked) == 1
    for answer in tmp_path.glob("*.json"):
        answer.write_text("{")
    assert ask(Path(sys.executable), tmp_path) == first
    assert len(asked) == 2


def test_a_launcher_is_resolved_and_not_remembered(tmp_path: Path) -> None:
    launcher = shim(tmp_path / "shims", "python", REAL)
    found = ask(launcher, tmp_path / "cache")
    assert found.executable == REAL
    shim(tmp_path / "shims", "python")
    with pytest.raises(InterpreterError, match="broken"):
        ask(launcher, tmp_path / "cache")


def test_path_decides(tmp_path: Path, only_path: Path) -> None:
    shim(only_path, "python3")
    shim(only_path, "python3.99", REAL)
    (only_path / "python3-config").write_text("")
    assert find_interpreter(ANY, None, tmp_path / "cache").executable == REAL


def test_an_empty_or_a_relative_entry_of_path_is_not_looked_at(
    tmp_path: Path, only_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are the folder where one stands, which may have been cloned a moment ago."""
    cloned = tmp_path / "cloned"
    for folder in (cloned, cloned / "bin"):
        started = folder / "started"
        program = shim(folder, "python3")
        program.write_text(f'#!/bin/sh\n: > {started}\nexec {REAL} "$@"\n')
    monkeypatch.chdir(cloned)
    monkeypatch.setenv("PATH", f":bin:.:./bin::{only_path}:")
    list(find_all(tmp_path / "cache"))
    assert not list(cloned.rglob("started"))


@pytest.mark.parametrize(
    "reached", ["by its path", "by a link", "by a link to the program", "for another project"]
)
def test_nothing_inside_the_project_is_started(
    tmp_path: Path, only_path: Path, monkeypatch: pytest.MonkeyPatch, reached: str
) -> None:
    project = tmp_path / "project"
    started = tmp_path / "started"
    program = shim(project / "bin", "python3")
    program.write_text(f'#!/bin/sh\n: > {started}\nexec {REAL} "$@"\n')
    folder = project / "bin"
    if reached == "by a link":
        folder = tmp_path / "link"
        folder.symlink_to(project / "bin")
    if reached == "by a link to the program":
        folder = only_path
        folder.mkdir(exist_ok=True)
        (folder / "python3").symlink_to(program)
    monkeypatch.setenv("PATH", str(folder))
    if reached == "for another project":
        # There the user's `PATH` is their own business.
        list(find_all(tmp_path / "cache", outside=tmp_path / "other"))
        assert started.exists()
        started.unlink()
    list(find_all(tmp_path / "cache", outside=project))
    with contextlib.suppress(InterpreterError):
        find_interpreter(ANY, None, tmp_path / "cache", outside=project)
    assert not started.exists()


def test_the_choice_is_remembered(tmp_path: Path, only_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_path.mkdir()
    (only_path / "python3").symlink_to(REAL)
    found = find_interpreter(ANY, None, tmp_path / "cache")
    monkeypatch.setattr(
        "pypm.environment.interpreters.find_all", lambda cache, **_: pytest.fail("searched again")
    )
    assert find_interpreter(ANY, None, tmp_path / "cache") == found


def test_nothing_fits(tmp_path: Path, only_path: Path) -> None:
    with pytest.raises(InterpreterError) as caught:
        find_interpreter(SpecifierSet(">=3.99"), None, tmp_path / "cache")
    assert "`>=3.99`; found 3." in caught.value.message
    assert caught.value.reference == "no-interpreter"
    assert caught.value.hint


def test_each_interpreter_is_listed_once(tmp_path: Path, only_path: Path) -> None:
    only_path.mkdir()
    for name in ("python", "python3", "python3.11"):
        (only_path / name).symlink_to(REAL)
    shim(tmp_path / "other", "python", REAL)
    os.environ["PATH"] += f":{tmp_path / 'other'}:/nonexistent:"
    assert [found.executable for found in find_all(tmp_path / "cache")].count(REAL) == 1


@pytest.mark.parametrize(
    ("text", "version", "admitted"),
    [
        ("3.12", "3.12.4", True),
        ("3.12", "3.1.2", False),
        ("3.12.4", "3.12.4", True),
        ("3.12.4", "3.12.5", False),
        ("3", "3.9.1", True),
        ("python3.12", "3.12.0", True),
        ("cpython3.12", "3.12.0", True),
        ("cpython@3.12", "3.12.0", True),
        ("pypy3.10", "3.10.1", False),
        ("3.13t", "3.13.0", False),
        (">=3.10,<3.12", "3.11.9", True),
        (">=3.10,<3.12", "3.12.0", False),
        ("==3.11.*", "3.11.2", True),
    ],
)
def test_requests(text: str, version: str, admitted: bool) -> None:
    assert parse_request(text).admits(describe(REAL, answer(version=version))) is admitted


@pytest.mark.parametrize("text", ["latest", "", "3.x", "python", "=>3"])
def test_what_names_no_python(text: str) -> None:
    with pytest.raises(InterpreterError) as caught:
        parse_request(text)
    assert caught.value.reference == "unknown-python-request"


def answer(**changes: object) -> dict[str, object]:
    plain = inquiry._run(REAL)
    version = str(changes.get("version", plain["version"]))
    numbers = [int(part) for part in version.split(".")]
    return {**plain, "version_info": numbers, **changes}


def test_tags_of_other_builds() -> None:
    free = describe(REAL, answer(version="3.13.1", free_threaded=True)).target.tags
    assert free[0].startswith("cp313-cp313t-")
    assert not any("-abi3-" in tag for tag in free)
    debug = describe(REAL, answer(version="3.12.0", debug=True)).target.tags
    assert {tag.split("-")[1] for tag in debug} >= {"cp312d", "cp312", "abi3", "none"}
    pypy = describe(
        REAL, answer(version="3.10.1", implementation="pypy", soabi="pypy310-pp73-x86_64-linux-gnu")
    )
    assert pypy.target.tags[0].startswith("pp310-pypy310_pp73-")


def test_an_interpreter_of_another_platform_is_refused() -> None:
    with pytest.raises(InterpreterError, match="built for `linux-riscv64"):
        describe(REAL, answer(platform="linux-riscv64"))
    with pytest.raises(InterpreterError, match="built for"):
        describe(REAL, answer(libc="musl"))


def test_a_path_that_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InterpreterError) as caught:
        find_interpreter(SpecifierSet("<3"), sys.executable, tmp_path)
    assert caught.value.reference == "interpreter-mismatch"
    with pytest.raises(InterpreterError) as caught:
        find_interpreter(ANY, str(tmp_path / "no/python"), tmp_path)
    assert caught.value.reference == "interpreter-missing"
    with pytest.raises(InterpreterError) as caught:
        find_interpreter(ANY, "/bin/true", tmp_path)
    assert caught.value.reference == "interpreter-unusable"


@pytest.mark.parametrize(
    ("content", "expected"),
    [("3.12\n", "3.12"), ("# why\n\n 3.11.7 \n3.10\n", "3.11.7"), ("", None), ("\n#\n", None)],
)
def test_version_files(tmp_path: Path, content: str, expected: str | None) -> None:
    (tmp_path / ".python-version").write_text(content)
    assert read_version_file(tmp_path) == expected
    assert read_version_file(tmp_path / "missing") is None


@pytest.mark.parametrize(
    "content", ["./evil/python", "evil/python", "/usr/bin/python3", "~/python", "..\\python"]
)
def test_a_version_file_names_no_program(tmp_path: Path, content: str) -> None:
    """It comes with a cloned project, and an interpreter is started outside of the sandbox."""
    (tmp_path / ".python-version").write_text(content)
    with pytest.raises(InterpreterError) as caught:
        read_version_file(tmp_path)
    assert caught.value.reference == "version-file-path"


def test_nobody_waits_for_a_version_file_that_is_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".python-version")
    assert read_version_file(tmp_path) is None

"""The smaller commands, through the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from packaging.pylock import Pylock

import sandbox
from pypm.cli.app import main
from tests.support.index_server import IndexServer, make_wheel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHECKOUT = Path(__file__).resolve().parent.parent
_host = sandbox.probe()
needs_sandbox = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")

PROJECT = """\
[project]
name = "p"
version = "1"
requires-python = ">=3.10"
dependencies = ["a", "w; sys_platform == 'win32'"]
optional-dependencies = {fast = ["f"]}

[dependency-groups]
dev = ["t"]
lint = ["f", "w"]

[tool.pypm]
package = false
"""


class Line:
    """The command line in a project of its own."""

    def __init__(self, root: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.capture = capture

    def __call__(self, *words: str, code: int = 0) -> tuple[str, str]:
        self.capture.readouterr()
        got = main(words)
        told = self.capture.readouterr()
        assert got == code, told.err
        return told.out, told.err


@pytest.fixture
def pypm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Line]:
    with IndexServer() as server:
        server.add("a", make_wheel("a", "1.0", requires=["b"]))
        for name in ("b", "f", "t", "w", "pytest"):
            server.add(name, make_wheel(name, "1.0"))
        root = tmp_path / "p"
        root.mkdir()
        (root / "pyproject.toml").write_text(PROJECT)
        monkeypatch.chdir(root)
        monkeypatch.setenv("PYPM_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("PYPM_DEFAULT_INDEX", server.url)
        yield Line(root, capsys)


def test_lock_as_json(pypm: Line) -> None:
    out, _ = pypm("lock", "--json")
    answer = json.loads(out)
    assert answer["changed"] is True
    assert {change["name"] for change in answer["changes"]} == {"a", "b", "f", "t", "w"}
    assert json.loads(pypm("lock", "--json")[0])["changes"] == []


def test_tree(pypm: Line) -> None:
    pypm("lock")
    out, _ = pypm("tree")
    assert out.splitlines()[:2] == ["a 1.0", "    b 1.0"]
    assert "f 1.0  extra fast" in out
    assert pypm("tree", "--invert", "b")[0].splitlines() == ["b 1.0", "    a 1.0"]
    assert "b 1.0" not in pypm("tree", "--depth", "0")[0].splitlines()[1]
    _, told = pypm("tree", "--invert", "nope", code=2)
    assert "no package `nope`" in told


def test_tree_as_json(pypm: Line) -> None:
    pypm("lock")
    roots = json.loads(pypm("tree", "--json")[0])
    first = next(root for root in roots if root["name"] == "a")
    assert (first["version"], [one["name"] for one in first["below"]]) == ("1.0", ["b"])


def test_export_pylock_is_a_pylock(pypm: Line) -> None:
    pypm("lock")
    out, _ = pypm("export", "--frozen")
    parsed = Pylock.from_dict(tomllib.loads(out))
    assert {package.name for package in parsed.packages} == {"a", "b", "f", "t", "w"}
    pypm("export", "-o", "pylock.toml")
    assert (pypm.root / "pylock.toml").read_text().rstrip("\n") == out.rstrip("\n")


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ([], {"a", "b", "t", "w ; sys_platform"}),
        (["--no-dev"], {"a", "b", "w ; sys_platform"}),
        (["--extra", "fast", "--no-dev"], {"a", "b", "f", "w ; sys_platform"}),
        (["--group", "lint", "--no-dev"], {"a", "b", "f", "w"}),
    ],
)
def test_export_requirements_decides_extras_and_groups(pypm: Line, flags: list[str], names: set[str]) -> None:
    pypm("lock")
    out, _ = pypm("export", "--format", "requirements", *flags)
    found = set()
    for line in out.splitlines():
        if "==" in line.partition(";")[0] and not line.startswith((" ", "#")):
            name = line.partition("==")[0]
            found.add(f"{name} ; sys_platform" if "sys_platform" in line else name)
    assert found == names
    assert "extras" not in out
    assert "dependency_groups" not in out
    assert out.count("--hash=sha256:") == len(names)


def test_init_makes_a_project_that_locks(pypm: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, told = pypm("init", str(tmp_path / "new"), "--lib", "--name", "my-new")
    assert "Created `my-new`" in told
    assert (tmp_path / "new/src/my_new/__init__.py").is_file()
    monkeypatch.chdir(tmp_path / "new")
    pypm("lock")
    assert (tmp_path / "new/pypm.lock").is_file()
    _, told = pypm("init", code=2)
    assert "already" in told


def test_init_makes_a_script_by_its_path(pypm: Line, tmp_path: Path) -> None:
    _, told = pypm("init", "--script", str(tmp_path / "new" / "my-tool.py"))
    assert "Created `my-tool`" in told
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["my-tool.py"]
    _, told = pypm("init", "--script", str(tmp_path / "new" / "my-tool.py"), code=2)
    assert "already" in told


def test_python_find_and_list(pypm: Line) -> None:
    found = Path(pypm("python", "find")[0].strip())
    assert found.is_file()
    listed = json.loads(pypm("python", "list", "--json")[0])
    assert str(found) in {one["executable"] for one in listed}
    assert str(found) in pypm("python", "list")[0]
    done = subprocess.run(
        [found, "-c", "import sys; print(sys.version_info >= (3, 10))"], capture_output=True, check=True
    )
    assert done.stdout.strip() == b"True"


@needs_sandbox
def test_cache_commands(pypm: Line, tmp_path: Path) -> None:
    assert pypm("cache", "dir")[0].strip() == str(tmp_path / "cache")
    pypm("sync")
    buckets = json.loads(pypm("cache", "size", "--json")[0])["buckets"]
    assert buckets["store-v1"] > 0
    assert "in all" in pypm("cache", "size")[0]
    _, told = pypm("cache", "prune", "--dry-run", "--days", "0")
    assert "Would free" in told
    assert (tmp_path / "cache/store-v1").is_dir()
    shutil.rmtree(pypm.root / ".venv")
    pypm("cache", "prune", "--days", "0")
    assert not list((tmp_path / "cache/store-v1").glob("??/*-*"))
    pypm("sync")
    (tmp_path / "cache/of-somebody-else").touch()
    pypm("cache", "clean")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["of-somebody-else"]
    pypm("sync", "--locked")
    assert (pypm.root / ".venv/bin/python").exists()


@needs_sandbox
@pytest.mark.parametrize("has_plan", [False, True], ids=["first run", "ready plan"])
def test_what_a_run_has_mounted_is_not_removed(pypm: Line, tmp_path: Path, has_plan: bool) -> None:
    program = [sys.executable, "-m", "pypm"]
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [*program, "run", "--frozen", "python", "-c", "input(); import a, b; print('whole')"]
    pypm("sync")
    if has_plan:
        subprocess.run(command, cwd=pypm.root, env=environ, input="\n", text=True, check=True)
    process = subprocess.Popen(
        command, cwd=pypm.root, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process, wait_until_it_runs(process):
        cleaning = subprocess.Popen(
            [*program, "cache", "clean"], cwd=pypm.root, env=environ, stderr=subprocess.PIPE, text=True
        )
        with cleaning:
            assert cleaning.stderr is not None
            told = cleaning.stderr.readline()
            assert f"process {process.pid} (pypm run" in told
            assert process.communicate("\n")[0] == "whole\n"
            cleaning.communicate()  # Whoever closes the pipe before is answered by a failed write.
    assert cleaning.returncode == 0
    assert not (tmp_path / "cache/store-v1").exists()


@contextmanager
def wait_until_it_runs(process: subprocess.Popen[str]) -> Iterator[None]:
    """Enter the block when the command in the sandbox waits for its input."""
    deadline = time.monotonic() + 30
    while not any(line.startswith(b"python\0-c\0input()") for line in _command_lines_below(process.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield


def _command_lines_below(pid: int) -> Iterator[bytes]:
    """The command lines of all descendants, without the process's own."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            with suppress(OSError):
                yield Path(f"/proc/{child}/cmdline").read_bytes()
                yield from _command_lines_below(int(child))


def test_prune_sweeps_what_killed_commands_left(pypm: Line, tmp_path: Path) -> None:
    pypm("lock")
    cache = tmp_path / "cache"
    page = next((cache / "index-v1" / "pages").glob("*/*"))
    left = [
        page.with_name(f".{page.name}.01234567.tmp"),
        cache / "scratch" / "build-1-01234567" / "file",
        cache / "wheels" / ".0123456789abcdef.part",
        cache / "plans-v1" / "0123456789abcdef.4711",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    pypm("cache", "prune")
    assert [path for path in left if path.exists()] == []
    assert page.exists()


@needs_sandbox
def test_no_cache_leaves_nothing_behind(pypm: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    pypm("sync", "-n")
    assert not (tmp_path / "cache").exists()
    assert list(temporary.iterdir()) == []
    done = subprocess.run([pypm.root / ".venv/bin/python", "-c", "import a, b"], check=False)
    assert done.returncode == 0


@needs_sandbox
def test_selection_of_a_sync(pypm: Line) -> None:
    def installed() -> set[str]:
        return {path.name.partition("-")[0] for path in (pypm.root / ".venv").rglob("*.dist-info")}

    pypm("sync")
    assert installed() == {"a", "b", "t"}
    pypm("sync", "--no-dev", "--extra", "fast")
    assert installed() == {"a", "b", "f"}
    pypm("sync", "--only-group", "lint")
    assert installed() == {"f", "w"}
    pypm("sync", "--all-groups", "--all-extras")
    assert installed() == {"a", "b", "f", "t", "w"}


@needs_sandbox
def test_explain_names_what_is_allowed_and_runs_nothing(pypm: Line) -> None:
    out, _ = pypm("sandbox", "explain")
    assert "network      loopback only" in out
    assert f"write        {pypm.root}" in out
    assert f"protected    {pypm.root / 'pyproject.toml'}" in out
    out, _ = pypm("run", "--explain", "--allow-net", "--read-only", "touch", "x")
    assert "network      the network of this machine" in out
    assert f"read         {pypm.root}" in out
    assert not (pypm.root / "x").exists()
    told = json.loads(pypm("sandbox", "explain", "--json", "ls", "-l")[0])
    assert (told["hostname"], told["command"], told["isolation"]) == ("pypm", ["ls", "-l"], "namespaces")
    assert told["not_guaranteed"] == []
    assert pypm("sandbox", "explain", "-m", "this")[0] == pypm("run", "--explain", "-m", "this")[0]


@needs_sandbox
def test_explain_says_what_a_weaker_isolation_does_not_promise(pypm: Line) -> None:
    if not sandbox.probe().landlock:
        pytest.skip(f"no Landlock rung here: {sandbox.probe().landlock_cause}")
    out, _ = pypm("sandbox", "explain", "--isolation", "landlock", "ls")
    assert "isolation    landlock (asked for by name)" in out
    assert "not promised metadata" in out
    told = json.loads(pypm("sandbox", "explain", "--isolation", "landlock", "--json", "ls")[0])
    assert told["not_guaranteed"] == ["metadata"] and told["notes"]


@needs_sandbox
def test_sandbox_info(pypm: Line) -> None:
    assert json.loads(pypm("sandbox", "info", "--json")[0])["namespaces"] is True
    out, _ = pypm("sandbox", "info")
    assert "namespaces" in out
    for reason in {reason for keeper in sandbox.keepers().values() for reason in keeper.because}:
        assert out.count(reason) == 1, "not once for each limit"
    rungs = json.loads(pypm("sandbox", "info", "--json")[0])["isolations"]
    assert set(rungs) == {"namespaces", "landlock", "none"}
    assert len(rungs["namespaces"]["guarantees"]) == len(sandbox.Guarantee)
    assert rungs["none"]["guarantees"] == ["environment"]


def test_completion_offers_commands(pypm: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_PYPM_COMPLETE" in pypm("completion", shell)[0]
    monkeypatch.setenv("_PYPM_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "pypm sy")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert pypm()[0].split() == ["plain,sync"]

"""What a call with a ready plan may import, and that it does what the whole program would do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sandbox
from tests.support.index_server import IndexServer, make_wheel

CHECKOUT = Path(__file__).resolve().parent.parent

ALWAYS_THERE = frozenset(
    json.loads(
        subprocess.run(
            [sys.executable, "-c", "import sys, json, os, marshal; print(json.dumps(sorted(sys.modules)))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
)
"""What the interpreter has loaded before a program begins; `json` and what it needs is subtracted below."""

ALLOWED = {
    "__future__",
    "_ctypes",
    "_imp",
    "_thread",
    "errno",
    "gc",
    "marshal",
    "time",
    "pypm",
    "pypm.bundle",
    "pypm.launch",
    "pypm.paths",
    "pypm.workflow",
    "pypm.workflow.plans",
    "sandbox",
}
"""Built in, or cheap; and our own modules that are written for this path. `sandbox.*` has its own test."""

FORBIDDEN = (
    "click",
    "rich",
    "httpx",
    "packaging",
    "re",
    "json",
    "hashlib",
    "socket",
    "dataclasses",
    "pathlib",
)

_host = sandbox.probe()
needs_sandbox = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")

LISTING = """\
import sys
from pypm.launch import replay
code = replay(sys.argv[1:])
sys.stderr.write(repr((code, sorted(sys.modules))) + "\\n")
"""


class Place:
    """A synced project."""

    def __init__(self, root: Path, environ: dict[str, str]) -> None:
        self.root = root
        self.environ = environ

    def whole(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The program as it is started."""
        return self._run("-m", "pypm", *words)

    def fast(self, *words: str) -> tuple[int | None, set[str], str]:
        """The fast path alone: its code or None, the modules that it loaded, and stdout."""
        done = self._run("-c", LISTING, *words)
        code, modules = eval(done.stderr.splitlines()[-1])
        return code, set(modules), done.stdout

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("fast")
    root = folder / "project"
    root.mkdir()
    (root / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\ndependencies = ["a"]\n[tool.pypm]\npackage = false\n'
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYPM_")}
    environ |= {"PYTHONPATH": str(CHECKOUT), "PYPM_CACHE_DIR": str(folder / "cache"), "SECRET": "s3cret"}
    with IndexServer() as server:
        server.add("a", make_wheel("a", "1.0", files={"a.py": b"print('a')\n"}))
        environ["PYPM_DEFAULT_INDEX"] = server.url
        made = Place(root, environ)
        done = made.whole("sync")
        assert done.returncode == 0, done.stderr
        assert made.whole("run", "true").returncode == 0
    return made


@needs_sandbox
def test_a_ready_run_imports_next_to_nothing(place: Place) -> None:
    code, modules, _ = place.fast("run", "true")
    assert code == 0
    ours = {name for name in modules if not name.startswith("sandbox.")}
    assert ours - ALWAYS_THERE <= ALLOWED
    assert not {name for name in FORBIDDEN if name in modules and name not in ALWAYS_THERE}


@needs_sandbox
def test_a_ready_sync_imports_even_less(place: Place) -> None:
    code, modules, out = place.fast("sync")
    assert code == 0
    assert out == place.whole("sync", "--locked").stdout
    assert {name for name in modules if name.split(".")[0] == "sandbox"} == set()


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below `folder` with its mode; links by where they lead."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes(),
        )
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@needs_sandbox
def test_a_missing_environment_is_written_without_reading_the_lock(place: Place) -> None:
    environment = place.root / ".venv"
    whole = content(environment)
    assert place.whole("sync").returncode == 0
    shutil.rmtree(environment)
    code, modules, out = place.fast("sync")
    assert (code, content(environment)) == (0, whole)
    assert out == place.whole("sync", "--locked").stdout
    assert not {"click", "packaging.markers", "pypm.codec.lockfile", "pypm.workflow.select"} & modules
    code, modules, _ = place.fast("sync")
    assert code == 0 and "pypm.cli.ready_sync" not in modules


@needs_sandbox
def test_what_a_killed_sync_left_is_removed_by_the_next(place: Place) -> None:
    environment = place.root / ".venv"
    assert place.whole("sync").returncode == 0
    shutil.copytree(environment, environment.with_name(".venv.0123abcd"), symlinks=True)
    (environment / "pypm-state").touch()  # As a sync that was killed after the exchange: its state is new.
    code, modules, _ = place.fast("sync")
    assert code == 0 and "click" not in modules
    assert [path.name for path in place.root.glob(".venv*")] == [".venv"]


@needs_sandbox
def test_another_environment_at_the_place_is_exchanged_and_told(place: Place) -> None:
    environment = place.root / ".venv"
    whole = content(environment)
    (environment / "pypm-state").write_text("pypm-environment 1\nother\nother\n\n")
    foreign = next(environment.glob("lib/*/site-packages")) / "foreign-1.dist-info"
    foreign.mkdir()
    code, modules, _ = place.fast("sync")
    assert code == 0 and "click" not in modules
    assert content(environment) == whole
    assert not foreign.exists()


@needs_sandbox
def test_what_cannot_be_written_from_a_plan_is_left_to_the_whole_program(place: Place) -> None:
    environment = place.root / ".venv"
    whole = content(environment)
    assert place.whole("sync").returncode == 0
    shutil.rmtree(environment)
    (file,) = (place.root.parent / "cache" / "store-v1").glob("??/*-*/prefix/lib/*/site-packages/a.py")
    file.chmod(0o644)
    file.write_text("print('poisoned')\n")
    assert place.fast("sync")[0] is None
    assert not environment.exists()
    done = place.whole("sync")
    assert done.returncode == 0 and "it is made anew" in done.stderr
    assert content(environment) == whole
    shutil.rmtree(environment)
    environment.mkdir()
    (environment / "work").write_text("somebody's")
    assert place.fast("sync")[0] is None
    assert "is not replaced" in place.whole("sync").stderr
    shutil.rmtree(environment)
    assert place.whole("sync").returncode == 0


@needs_sandbox
@pytest.mark.parametrize(
    "words",
    [
        ("sh", "-c", "exit 7"),
        ("sh", "-c", "kill -TERM $$"),
        ("python", "-c", "import a"),
        ("python", "-c", "import os; print(sorted(os.environ)); print(os.getcwd())"),
        ("sh", "-c", "echo $SECRET; cat /proc/1/environ | tr '\\\\0' '\\\\n' | grep SECRET"),
        ("sh", "-c", "touch pyproject.toml .venv/x pypm.lock; ls -A"),
    ],
)
def test_the_fast_path_does_what_the_whole_program_does(place: Place, words: tuple[str, ...]) -> None:
    code, _, out = place.fast("run", *words)
    plans = place.root.parent / "cache" / "plans-v1"
    plans.rename(plans.with_name("hidden"))
    try:
        whole = place.whole("run", *words)
    finally:
        if plans.exists():
            for plan in plans.iterdir():
                plan.unlink()
            plans.rmdir()
        plans.with_name("hidden").rename(plans)
    assert (code, out) == (whole.returncode, whole.stdout)
    assert "s3cret" not in out


@needs_sandbox
def test_a_program_that_is_missing_is_left_to_the_command_line(place: Place) -> None:
    assert place.fast("run", "no-such-program")[0] is None
    assert place.fast("run", "sh", "-c", "exit 127")[0] == 127
    done = place.whole("run", "no-such-program")
    assert done.returncode == 127
    assert done.stderr.startswith("error: `no-such-program`")


@needs_sandbox
def test_modules_and_scripts(place: Place) -> None:
    (place.root / "script.py").write_text("import sys; print(sys.argv)\n")
    assert place.whole("run", "-m", "a").stdout == "a\n"
    code, _, out = place.fast("run", "-m", "a")
    assert (code, out) == (0, "a\n")
    code, _, out = place.fast("run", "script.py", "-x")
    assert (code, out) == (0, "['script.py', '-x']\n")


@needs_sandbox
def test_what_changed_goes_to_the_whole_program(place: Place) -> None:
    assert place.fast("run", "true")[0] == 0
    (place.root / "pypm.lock").touch()
    assert place.fast("run", "true")[0] is None
    assert place.fast("sync")[0] is None
    assert place.whole("run", "true").returncode == 0
    assert place.fast("run", "true")[0] == 0
    tree = next((place.root.parent / "cache" / "store-v1").glob("??/*-*"))
    hidden = tree.with_name("hidden")
    tree.rename(hidden)
    try:
        assert place.fast("run", "true")[0] is None
    finally:
        hidden.rename(tree)


@needs_sandbox
def test_variables_are_read_anew(place: Place) -> None:
    place.environ["LANG"] = "C.UTF-8"
    try:
        code, _, out = place.fast("run", "sh", "-c", "echo $LANG")
        assert (code, out) == (0, "C.UTF-8\n")
    finally:
        del place.environ["LANG"]


def test_a_call_without_a_plan_is_left_to_the_command_line(place: Place) -> None:
    for words in (["run", "--group", "x", "true"], ["lock"], ["run"], ["--version"], []):
        assert place.fast(*words)[0] is None

"""`pypm plugin`, through the command line."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

import sandbox
from pypm.cli.app import main
from pypm.codec.lockfile import load_lock
from pypm.plugins.found import SOURCES, SearchPath, find
from tests.plugins.bench import needs_compiler, needs_sandbox

CHECKOUT = Path(__file__).resolve().parent.parent.parent
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
    assert facts["permissions"] == ["read:packages?"]
    built.rename(here / "plugins" / built.name)
    use(here, "[tool.pypm]\nplugins = ['big-wheels']\n")
    assert main(["plugin", "check", "big-wheels"]) == 0
    assert "stages       post-fetch" in capsys.readouterr().out
    assert main(["lock"]) == 0, "it works in a project at once"
    assert "Pinned the plugin `big-wheels`" in capsys.readouterr().err
    use(here, "[tool.pypm.plugins.big-wheels]\nallow-read = ['packages']\n")
    assert main(["plugin", "check", "big-wheels"]) == 0


def test_new_writes_over_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "x").mkdir()
    (here / "x" / "kept").touch()
    assert main(["plugin", "new", "x"]) == 2
    assert main(["plugin", "new", "new-one", "x"]) == 2
    assert main(["plugin", "check", "nothing"]) == 1
    assert "the plugin `nothing` is not installed" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../x", "Big", "bad name", "a--b", "1st", "a" * 65])
@pytest.mark.parametrize("what", ["new", "check", "trust", "build"])
def test_what_cannot_be_a_name_is_a_usage_error(
    here: Path, capsys: pytest.CaptureFixture[str], what: str, name: str
) -> None:
    use(here, "")
    before = sorted(here.rglob("*"))
    if (what, name) == ("check", "../x"):
        assert main(["plugin", what, name]) == 1, "a path"
        return
    assert main(["plugin", what, name]) == 2
    assert f"error: `{name}` is not the name of a plugin\nhint: use lower-case" in capsys.readouterr().err
    assert sorted(here.rglob("*")) == before


def test_a_path_that_leads_to_no_plugin_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "other.so").touch()
    for path, said in (
        ("./pypm_x.so", f"`{here / 'pypm_x.so'}` does not exist"),
        ("./other.so", f"`{here / 'other.so'}` is not named as a plugin is"),
        ("other.so", f"`{here / 'other.so'}` is not named as a plugin is"),
        ("./plugins", f"`{here / 'plugins'}` is not named as a plugin is"),
    ):
        assert main(["plugin", "check", path]) == 1
        assert f"error: {said}" in capsys.readouterr().err
    (here / "pypm_X.so").touch()
    assert main(["plugin", "check", "./pypm_X.so"]) == 1
    assert "is not named as a plugin is" in capsys.readouterr().err


def test_only_pypms_own_plugins_can_be_built(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    use(here, "")
    assert main(["plugin", "build", "nothing"]) == 1
    said = capsys.readouterr().err
    assert said == (
        "error: no plugin `nothing` comes with pypm\nhint: those that do are `auditwheel` and `s3cache`\n"
    )


def test_the_canary_pins_the_plugins_as_they_are() -> None:
    """Whoever changes the sources of a plugin locks again: `pypm lock --project integration/my-lib`."""
    lock = load_lock((CHECKOUT / "integration" / "my-lib" / "pypm.lock").read_bytes())
    pins = {plugin.name: [build.sha256 for build in plugin.builds] for plugin in lock.plugins}
    where = SearchPath(sources=SOURCES)
    assert pins == {name: [find(name, where).sha256] for name in ("auditwheel", "s3cache")}


@needs_sandbox
@needs_compiler
def test_plugins_of_pypms_own_are_built_in_the_sandbox_once(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYPM_CACHE_DIR", str(here / "cache"))
    use(here, "")
    assert main(["plugin", "build", "auditwheel"]) == 0
    told = capsys.readouterr().err
    assert "Building the plugin auditwheel\n" in told
    (kept,) = (here / "cache" / "plugins-v1").iterdir()
    assert kept.read_bytes()[64:68] == b"\x7fELF"
    assert main(["plugin", "check", "auditwheel"]) == 0
    told = capsys.readouterr()
    assert "Building" not in told.err
    assert "stages       post-build post-fetch" in told.out
    kept.write_bytes(kept.read_bytes()[:-1])
    assert main(["plugin", "build", "auditwheel"]) == 0
    assert "Building the plugin auditwheel\n" in capsys.readouterr().err, "half a file is no library"


@needs_compiler
def test_a_compiler_that_refuses_is_quoted(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not sandbox.probe().namespaces:
        pytest.skip(f"no sandbox on this machine: {sandbox.probe().cause}")
    monkeypatch.setenv("PYPM_CACHE_DIR", str(here / "cache"))
    folder = here / "native"
    (folder / "broken").mkdir(parents=True)
    (folder / "broken" / "broken.c").write_text("#error not today\n")
    (folder / "Makefile").write_text("$(OUTPUT)/pypm_%.so:\n\tcc -shared -o $@ $*/$*.c\n")
    monkeypatch.setattr("pypm.plugins.found.SOURCES", folder)
    monkeypatch.setattr("pypm.plugins.native_build.HEADER", folder / "pypm_plugin.h")
    use(here, "")
    assert main(["plugin", "build", "broken"]) == 1
    told = capsys.readouterr().err
    assert "error: the plugin `broken` could not be built" in told
    assert "#error not today" in told


@needs_compiler
def test_the_plugins_build_with_sanitizers(tmp_path: Path) -> None:
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    flags = ["-fsanitize=address,undefined", "-o", str(tmp_path / "probe")]
    if subprocess.run(["cc", *flags, str(probe)], capture_output=True, check=False).returncode != 0:
        pytest.skip("this compiler has no runtime for its sanitizers")
    argv = ["make", "-s", "-C", str(SOURCES), "SANITIZE=1", f"OUTPUT={tmp_path}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    subprocess.run(argv, env=environment, check=True, capture_output=True)
    symbols = (tmp_path / "pypm_auditwheel.so").read_bytes()
    assert b"__asan_init" in symbols
    assert b"__ubsan_handle" in symbols

"""Plugins through the whole workflow: each stage in order with its data, and what a refusal leaves behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.plugins.bench import SOURCES, build, needs_compiler, needs_sandbox
from tests.support.index_server import IndexServer, make_sdist, make_wheel

pytestmark = [needs_sandbox, needs_compiler]

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PROJECT = """\
[project]
name = "p"
version = "1"
requires-python = ">=3.10"
dependencies = [{dependencies}]
[tool.pypm]
package = false
{more}
"""
BACKEND = """\
import os, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "s-1.0-py3-none-any.whl"
    files = {
        "s.py": "VALUE = 1\\n",
        "s-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: s\\nVersion: 1.0\\n",
        "s-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    import base64, hashlib
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},"
        f"{len(text)}\\n"
        for path, text in files.items()
    ]
    files["s-1.0.dist-info/RECORD"] = "".join(rows) + "s-1.0.dist-info/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), text)
    return name
"""


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(SOURCES / "recorder.c", tmp_path_factory.mktemp("recorder") / "pypm_recorder.so")


@dataclass(kw_only=True)
class Place:
    """A project of its own with an index, a cache, and the commands that a user types."""

    root: Path
    server: IndexServer
    environ: dict[str, str] = field(default_factory=dict)

    def project(self, settings: str, *dependencies: str, grants: str = "", package: bool = True) -> None:
        table = f"[tool.pypm.plugins.recorder]\n{grants}\n{settings}\n" if package else settings
        listed = ", ".join(f'"{name}"' for name in dependencies or ("a",))
        (self.root / "pyproject.toml").write_text(PROJECT.format(dependencies=listed, more=table))

    def __call__(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "pypm", *words],
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done

    def told(self, *words: str, code: int = 0) -> list[str]:
        """Type a command; return what the recorder was told, a line a stage."""
        lines = self(*words, code=code).stderr.splitlines()
        return [line.partition("recorder: ")[2] for line in lines if line.startswith("warning: recorder: ")]

    def listing(self) -> dict[str, bytes]:
        """Every file of the project."""
        paths = (path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in paths}


@pytest.fixture
def place(tmp_path: Path, recorder: Path) -> Iterator[Place]:
    root = tmp_path / "p"
    (root / "plugins").mkdir(parents=True)
    shutil.copy(recorder, root / "plugins")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYPM_")}
    environ |= {
        "PYTHONPATH": str(CHECKOUT),
        "PYPM_CACHE_DIR": str(tmp_path / "cache"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "RECORDER_TOKEN": "t0ken",
    }
    with IndexServer() as server:
        server.add("a", make_wheel("a", "1.0", requires=["b"], files={"a.py": b"print('a')\n"}))
        server.add("b", make_wheel("b", "2.0"))
        environ["PYPM_DEFAULT_INDEX"] = server.url
        yield Place(root=root, server=server, environ=environ)


def stages(told: list[str]) -> list[str]:
    return [line.split()[1] for line in told]


def test_every_stage_in_its_order_with_its_data(place: Place) -> None:
    pyproject = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    place.server.add(
        "s", make_sdist("s", "1.0", pyproject=pyproject, files={"backend.py": BACKEND.encode(), "s.py": b""})
    )
    place.project("", "a", "s", grants='allow-read = ["packages"]')
    both = "a-1.0+artifact+sha256", "b-2.0+artifact+sha256", "s-1.0+artifact+sha256"
    wheels, sdist = both[:2], both[2]
    here = "lock=1 env=0 python=1 tags=1 token=(null) :"
    made = here.replace("env=0", "env=1")
    told = place.told("sync")
    # The source distribution was fetched by the lock, which read its metadata.
    assert [line.partition(" ")[2] for line in told] == [
        "pre-lock lock=0 env=0 python=0 tags=0 token=(null) :",
        "post-lock lock=1 env=0 python=0 tags=0 token=(null) : a-1.0 b-2.0 s-1.0",
        f"pre-sync {here} {' '.join(both)}+path",
        f"pre-fetch {here} {' '.join(wheels)}",
        f"post-fetch {here} {wheels[0]}+path+tree {wheels[1]}+path+tree",
        f"post-fetch {here} {sdist}+path",
        f"pre-build {here} {sdist}+path",
        f"post-build {here} {sdist}+path+tree",
        f"pre-install {here} a-1.0+sha256+tree b-2.0+sha256+tree s-1.0+sha256+tree",
        f"post-install {made} a-1.0+sha256+tree b-2.0+sha256+tree s-1.0+sha256+tree",
        f"post-sync {made}",
    ]
    assert [line.split()[0] for line in told] == [str(number) for number in range(1, 12)], (
        "one host throughout"
    )
    assert stages(place.told("sync")) == ["pre-sync", "post-sync"], "also with nothing to do"
    told = place.told("run", "sh", "-c", "exit 7", code=7)
    assert stages(told) == ["pre-sync", "pre-run", "post-run"]
    assert told[1].partition(" ")[2] == f"pre-run {made}"
    assert place.told("lock", "--check") == []
    assert stages(place.told("lock")) == ["pre-lock", "post-lock"]
    assert place.told("sync", "--dry-run") == place.told("run", "--explain", "true")[1:] == []


@pytest.mark.parametrize("stage", ["pre-lock", "pre-fetch", "post-fetch", "pre-install", "pre-run"])
def test_a_refusal_ends_the_command_and_is_met_again(place: Place, stage: str) -> None:
    place.project(f'at = "{stage}"')
    before = place.listing()
    words = ("run", "touch", "made") if stage == "pre-run" else ("sync",)
    for _ in range(2):
        done = place(*words, code=1)
        last = [line for line in done.stderr.splitlines() if not line.startswith("warning: recorder: ")]
        about = "`a`: " if stage not in ("pre-lock", "pre-run") else ""
        assert f"error: the plugin `recorder` stopped at `{stage}`: {about}not like this" in last
        assert last[-1] == "hint: do it another way"
        assert done.stderr.count("not like this") == 1
        after = place.listing()
        assert after.keys() - before.keys() <= {"pypm.lock"}
        assert (stage == "pre-lock") is ("pypm.lock" not in after)
        assert all(after[path] == before[path] for path in before)
    cache = Path(place.environ["PYPM_CACHE_DIR"])
    assert not [path for path in (cache / "scratch").iterdir() if path.name.startswith(("plugin", "offer"))]


def test_an_error_that_ends_nothing_is_a_warning(place: Place) -> None:
    place.project('at = "post-sync"\nhow = "grumble"')
    done = place("sync")
    assert "warning: recorder: not like this\nhint: do it another way\n" in done.stderr
    assert "Running the plugin recorder\n" in done.stderr


def test_a_plugin_that_fails_after_a_run_does_not_hide_its_code(place: Place) -> None:
    place.project('at = "post-run"')
    assert "error: the plugin `recorder` stopped at `post-run`" in place("run", "true", code=1).stderr
    done = place("run", "sh", "-c", "exit 9", code=9)
    assert "warning: the plugin `recorder` stopped at `post-run`: not like this" in done.stderr


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("segv", "it crashed with SIGSEGV (segmentation fault)"),
        ("exit", "it ended its host by itself, with exit status 0"),
        ("fork", "it left a process behind"),
        ("hang", "it took longer than 0.3 seconds"),
        ("log", "it logs without end: more than 10000 lines"),
    ],
)
def test_misbehaviour_in_a_command_is_one_sentence(place: Place, how: str, cause: str) -> None:
    place.project(f'at = "pre-install"\nhow = "{how}"\ntimeout = "0.3s"')
    place("lock")
    before = place.listing()
    done = place("sync", code=1)
    assert f"error: the plugin `recorder` failed at `pre-install`: {cause}" in done.stderr.splitlines()
    assert place.listing() == before


def test_a_command_refuses_what_cannot_be_loaded(place: Place) -> None:
    place.project("")
    library = place.root / "plugins" / "pypm_recorder.so"
    wrong = bytearray(library.read_bytes())
    wrong[18:20] = (243).to_bytes(2, "little")
    library.write_bytes(bytes(wrong))
    assert "is built for riscv64, and this machine is" in place("lock", code=1).stderr
    library.write_bytes(b"#!/bin/sh\n")
    assert "the plugin `recorder` is not a shared library" in place("sync", code=1).stderr
    library.unlink()
    assert "error: the plugin `recorder` is not installed" in place("sync", code=1).stderr
    assert sorted(path.name for path in place.root.iterdir()) == ["plugins", "pyproject.toml"]


# Offers --------------------------------------------------------------------------------------------------


def test_what_is_offered_is_not_downloaded(place: Place) -> None:
    place.project("")
    place("sync")
    offers = place.root / "offers"
    offers.mkdir()
    for archive in (Path(place.environ["PYPM_CACHE_DIR"]) / "wheels").glob("*/*/*.whl"):
        shutil.copy(archive, offers)
    (offers / "b-2.0-py3-none-any.whl").write_bytes(b"poisoned")
    place.project(f'offers = "{offers}"', grants='allow-read = ["project"]')
    place("lock")
    for name in ("wheels", "store-v1"):
        shutil.rmtree(Path(place.environ["PYPM_CACHE_DIR"]) / name, ignore_errors=True)
    subprocess.run(["chmod", "-R", "u+w", place.environ["PYPM_CACHE_DIR"]], check=True)
    shutil.rmtree(Path(place.environ["PYPM_CACHE_DIR"]) / "store-v1", ignore_errors=True)
    place.server.requests.clear()
    done = place("sync")
    assert "Took 1 of 2 artifacts from `recorder`" in done.stderr
    assert "what it offered for `b-2.0-py3-none-any.whl` is another file than the locked one" in done.stderr
    fetched = [request.path for request in place.server.requests if request.path.endswith(".whl")]
    assert [path.rpartition("/")[2] for path in fetched if "b-2.0" in path] != []
    assert [path for path in fetched if "a-1.0" in path] == []

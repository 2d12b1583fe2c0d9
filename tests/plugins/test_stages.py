"""Plugins through the whole workflow: each stage in order with its data, and what a refusal leaves behind."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from pypm.cli.app import main
from pypm.codec.lockfile import dump_lock, load_lock
from pypm.digest import sha256_hex
from pypm.errors import PluginError
from pypm.model.artifact import IndexFile
from pypm.plugins.hooks import Diagnostic
from pypm.workflow.context import Context
from pypm.workflow.plugin_reports import ReportedPlugins
from pypm.workflow.report import SilentReporter
from pypm.workflow.settings import Overrides, load_settings
from pypm.workflow.stages import Pins, Stage
from tests.plugins.bench import SOURCES, build, needs_compiler, needs_sandbox
from tests.plugins.test_misbehaviour import AT_LOAD, HEAD, HOOK, descriptor
from tests.support.index_server import Archive, IndexServer, make_sdist, make_wheel

pytestmark = [needs_sandbox, needs_compiler]

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


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command printed."""

    stdout: str
    stderr: str


@dataclass(kw_only=True)
class Place:
    """A project of its own with an index, a cache, and the commands that a user types."""

    root: Path
    server: IndexServer
    capture: pytest.CaptureFixture[str]

    @property
    def cache(self) -> Path:
        return self.root.parent / "cache"

    def project(self, settings: str, *dependencies: str, grants: str = "", package: bool = True) -> None:
        table = f"[tool.pypm.plugins.recorder]\n{grants}\n{settings}\n" if package else settings
        listed = ", ".join(f'"{name}"' for name in dependencies or ("a",))
        (self.root / "pyproject.toml").write_text(PROJECT.format(dependencies=listed, more=table))

    def __call__(self, *words: str, code: int = 0) -> Said:
        self.capture.readouterr()
        got = main(words)
        told = self.capture.readouterr()
        assert got == code, told.err
        return Said(stdout=told.out, stderr=told.err)

    def told(self, *words: str, code: int = 0) -> list[str]:
        """Type a command; return what the recorder was told, a line a stage."""
        lines = self(*words, code=code).stderr.splitlines()
        return [line.partition("recorder: ")[2] for line in lines if line.startswith("warning: recorder: ")]

    def listing(self) -> dict[str, bytes]:
        """Every file of the project."""
        paths = (path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in paths}


@pytest.fixture(scope="session")
def warm(recorder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a cache remembers of interpreters and descriptors, so that it is not asked for in every test."""
    return tmp_path_factory.mktemp("warm")


@pytest.fixture
def place(
    tmp_path: Path,
    recorder: Path,
    warm: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Place]:
    root, cache = tmp_path / "p", tmp_path / "cache"
    (root / "plugins").mkdir(parents=True)
    shutil.copy(recorder, root / "plugins")
    shutil.copytree(warm, cache)
    monkeypatch.chdir(root)
    monkeypatch.setenv("PYPM_CACHE_DIR", str(cache))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("RECORDER_TOKEN", "t0ken")
    with IndexServer() as server:
        server.add("a", make_wheel("a", "1.0", requires=["b"], files={"a.py": b"print('a')\n"}))
        server.add("b", make_wheel("b", "2.0"))
        monkeypatch.setenv("PYPM_DEFAULT_INDEX", server.url)
        yield Place(root=root, server=server, capture=capsys)
    for name in ("interpreters-v1", "plugins-v1"):
        if not (warm / name).exists() and (cache / name).exists():
            shutil.copytree(cache / name, warm / name, ignore=shutil.ignore_patterns("*.passed"))


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
    # The source distribution is fetched by the lock, which reads its metadata and serves all interpreters.
    locking = "lock=0 env=0 python=0 tags=0 token=(null) :"
    assert [line.partition(" ")[2] for line in told] == [
        f"pre-lock {locking}",
        f"pre-fetch {locking} {sdist}",
        f"post-fetch {locking} {sdist}+path",
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
    assert [line.split()[0] for line in told] == [str(number) for number in range(1, 14)], (
        "one host throughout"
    )
    assert stages(place.told("sync")) == ["pre-sync", "post-sync"], "also with nothing to do"
    told = place.told("run", "sh", "-c", "exit 7", code=7)
    assert stages(told) == ["pre-sync", "pre-run", "post-run"]
    assert told[1].partition(" ")[2] == f"pre-run {made}"
    assert place.told("lock", "--check") == []
    assert stages(place.told("lock")) == ["pre-lock", "post-lock"]
    assert place.told("sync", "--dry-run") == place.told("run", "--explain", "true")[1:] == []


def test_a_shell_has_the_stages_of_a_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/sh")
    place.project("", "b")
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        told = stages(place.told("shell"))
    assert told == ["pre-lock", "post-lock", "pre-sync", "pre-fetch", "post-fetch", "pre-run", "post-run"]


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
    assert not [
        path for path in (place.cache / "scratch").iterdir() if path.name.startswith(("plugin", "offer"))
    ]


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


@pytest.mark.parametrize("how", ["no-hook", "newer", "wider", "short", "undefined", "constructor"])
def test_what_cannot_be_used_is_one_sentence_of_a_command(place: Place, tmp_path: Path, how: str) -> None:
    code, _, cause = AT_LOAD[how]
    (tmp_path / "x.c").write_text(HEAD + code)
    build(tmp_path / "x.c", place.root / "plugins" / "pypm_x.so")
    place.project("plugins = ['x']", package=False)
    said = place("lock", code=1).stderr
    assert said.startswith("error: the plugin `x` ")
    assert re.search(cause, said.splitlines()[0])
    assert not (place.root / "pypm.lock").exists()


def test_a_plugin_of_an_older_header_works_in_a_command(place: Place, tmp_path: Path) -> None:
    older = descriptor(head="PYPM_MAGIC, 1, (unsigned)sizeof(pypm_descriptor), 96")
    (tmp_path / "x.c").write_text(HEAD + HOOK + older)
    build(tmp_path / "x.c", place.root / "plugins" / "pypm_x.so")
    place.project("plugins = ['x']", package=False)
    place("lock")


def test_many_findings_about_one_package_are_told_shortly() -> None:
    class Heard(SilentReporter):
        def __init__(self) -> None:
            self.told: list[tuple[str, str | None]] = []
            self.details: list[str] = []

        def detail(self, text: str) -> None:
            self.details.append(text)

        def warn(self, text: str, *, hint: str | None = None) -> None:
            self.told.append((text, hint))

    heard = Heard()
    reported = ReportedPlugins(heard)
    finding = Diagnostic(
        plugin="x", stage=Stage.POST_FETCH, level="warning", package="a", message="1", hint="h"
    )
    for number in range(1, 6):
        reported.diagnostic(dataclasses.replace(finding, message=str(number)))
    reported.ended()
    reported.diagnostic(dataclasses.replace(finding, package=None))
    reported.ended()
    assert heard.told == [
        ("x: `a`: 1", "h"),
        ("x: `a`: 2", None),
        ("x: `a`: 3", None),
        ("x: 2 more findings about `a`; `-v` shows them", None),
        ("x: 1", "h"),
    ]
    assert heard.details == ["x: `a`: 4", "x: `a`: 5"]


# Offers --------------------------------------------------------------------------------------------------


_READS_ALL = 'allow-read = ["project", "packages"]'


def _offer_what_is_cached(place: Place) -> Path:
    """Put every archive where the recorder offers from."""
    offers = place.root / "offers"
    offers.mkdir()
    for archive in (place.cache / "wheels").glob("*/*/*.whl"):
        shutil.copy(archive, offers)
    return offers


def _forget_archives(place: Place) -> None:
    """Empty the cache of archives and trees."""
    for name in ("wheels", "store-v1"):
        subprocess.run(["chmod", "-R", "u+w", place.cache / name], check=True)
        for entry in (place.cache / name).iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _sha256(place: Place, name: str) -> str:
    lock = load_lock((place.root / "pypm.lock").read_bytes())
    (wheel,) = next(package.wheels for package in lock.packages if package.name == name)
    assert wheel.sha256 is not None
    return wheel.sha256


def test_what_is_offered_is_not_downloaded(place: Place) -> None:
    place.project("")
    place("sync")
    offers = _offer_what_is_cached(place)
    (offers / "b-2.0-py3-none-any.whl").write_bytes(b"poisoned")
    place.project(f'offers = "{offers}"', grants='allow-read = ["project"]')
    place("lock")
    _forget_archives(place)
    place.server.requests.clear()
    done = place("sync")
    assert "Took 1 of 2 artifacts from `recorder`" in done.stderr
    assert "what it offered for `b-2.0-py3-none-any.whl` is another file than the locked one" in done.stderr
    fetched = [request.path for request in place.server.requests if request.path.endswith(".whl")]
    assert [path.rpartition("/")[2] for path in fetched if "b-2.0" in path] != []
    assert [path for path in fetched if "a-1.0" in path] == []


def test_what_is_offered_is_unpacked_while_the_plugin_brings_more(place: Place) -> None:
    place.project("")
    place("sync")
    (tree,) = (place.cache / "store-v1").glob(f"??/{_sha256(place, 'a')}-*")
    _offer_what_is_cached(place)
    place.project(f'offers = "{place.root}/offers"\nawait = "{tree}/manifest"', grants=_READS_ALL)
    place("lock")
    _forget_archives(place)
    # The plugin does not go on after it has offered `a` until that lies unpacked in the store.
    assert "Took 2 of 2 artifacts from `recorder`" in place("sync").stderr


# What a lock fetches -----------------------------------------------------------------------------------

BUILT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def _add_source(place: Place) -> None:
    """Offer a package that has no wheel, so that a lock must fetch its source distribution."""
    files = {"backend.py": BACKEND.encode(), "s.py": b""}
    place.server.add("s", make_sdist("s", "1.0", pyproject=BUILT, files=files))


def _downloads(place: Place) -> list[str]:
    """Return the files that the index was asked for whole, in order."""
    files = [request for request in place.server.requests if "/files/" in request.path]
    whole = [one for one in files if "range" not in one.headers and not one.path.endswith(".metadata")]
    return [one.path.rpartition("/")[2] for one in whole if one.method == "GET"]


def test_what_a_lock_fetches_is_shown_and_can_be_offered(place: Place) -> None:
    _add_source(place)
    place.project("", "s", grants=_READS_ALL)
    told = place.told("lock")
    assert stages(told) == ["pre-lock", "pre-fetch", "post-fetch", "post-lock"]
    assert [line.rpartition(": ")[2] for line in told[1:3]] == [
        "s-1.0+artifact+sha256",
        "s-1.0+artifact+sha256+path",
    ]
    assert _downloads(place) == ["s-1.0.tar.gz"]
    for words in ("--check", "--dry-run"):
        assert place.told("lock", "--refresh", words) == []
    offers = place.root / "offers"
    offers.mkdir()
    (archive,) = (place.cache / "wheels").glob("*/*/s-1.0.tar.gz")
    archive.rename(offers / archive.name)
    place.server.requests.clear()
    place.project(f'offers = "{offers}"', "s", grants=_READS_ALL)
    assert "Took 1 of 1 artifact from `recorder`" in place("lock", "--refresh").stderr
    assert archive.exists()
    assert _downloads(place) == []


def test_a_poisoned_offer_to_a_lock_is_downloaded_instead(place: Place) -> None:
    _add_source(place)
    offers = place.root / "offers"
    offers.mkdir()
    (offers / "s-1.0.tar.gz").write_bytes(b"poisoned")
    place.project(f'offers = "{offers}"', "s", grants=_READS_ALL)
    said = place("lock").stderr
    assert "what it offered for `s-1.0.tar.gz` is another file than the locked one" in said
    assert _downloads(place) == ["s-1.0.tar.gz"]


@pytest.mark.parametrize("stage", ["pre-fetch", "post-fetch"])
def test_what_a_plugin_refuses_is_not_locked_and_refused_again(place: Place, stage: str) -> None:
    _add_source(place)
    place.project(f'at = "{stage}"', "s")
    for _ in range(2):
        said = place("lock", code=1).stderr
        assert f"error: the plugin `recorder` stopped at `{stage}`: `s`: not like this" in said
        assert not (place.root / "pypm.lock").exists()


def _direct(place: Place, wheel: Archive, fragment: str = "") -> str:
    """Serve a wheel outside of the index; return the settings that take the package `b` from there."""
    path = f"/direct/{wheel.filename}"
    place.server.add_raw(path, wheel.content)
    return f"[tool.pypm.sources]\nb = {{ url = '{place.server.root}{path}{fragment}' }}"


def test_a_wheel_that_a_lock_fetched_whole_is_shown_again_with_its_tree(place: Place) -> None:
    wheel = make_wheel("b", "3.0")
    place.project(_direct(place, wheel, f"#sha256={wheel.sha256}"), "b", grants=_READS_ALL)
    told = place.told("lock")
    assert stages(told) == ["pre-lock", "pre-fetch", "post-fetch", "post-lock"]
    assert told[2].endswith(": b-3.0+artifact+sha256+path")
    told = place.told("sync")
    assert stages(told)[:2] == ["pre-sync", "post-fetch"], "it is here already, and was not unpacked"
    assert told[1].endswith(": b-3.0+artifact+sha256+path+tree")


def test_an_archive_without_a_hash_is_shown_and_taken_from_nobody(place: Place) -> None:
    wheel = make_wheel("b", "3.0")
    offers = place.root / "offers"
    offers.mkdir()
    (offers / wheel.filename).write_bytes(make_wheel("b", "3.0", files={"evil.py": b""}).content)
    place.project(f'offers = "{offers}"\n{_direct(place, wheel)}', "b", grants=_READS_ALL)
    told = place.told("lock")
    assert [line.rpartition(": ")[2] for line in told[1:3]] == [
        "b-3.0+artifact",
        "b-3.0+artifact+sha256+path",
    ]
    assert _sha256(place, "b") == sha256_hex(wheel.content)


def test_a_refusal_on_a_thread_that_nobody_waits_for_ends_the_command(place: Place) -> None:
    place.project('at = "post-fetch"', "b")
    place("lock")
    with Context(load_settings(Overrides(), os.environ), SilentReporter()) as context:
        context.stages.open(load_lock((place.root / "pypm.lock").read_bytes()), Pins.REQUIRED)
        file = IndexFile(filename="b-2.0-py3-none-any.whl", url="https://x.example/b", sha256=None)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(context.stages.post_fetch, file, Path("/nowhere")).exception() is not None
        with pytest.raises(PluginError, match="not like this"):
            context.stages.check()
        with pytest.raises(PluginError, match="not like this"):
            context.stages.call(Stage.POST_LOCK)


def test_a_hook_on_a_thread_that_nobody_waits_for_does_not_hold_up_the_end(place: Place) -> None:
    class Told(SilentReporter):
        def warn(self, text: str, *, hint: str | None = None) -> None:
            said.set()

    said = threading.Event()
    place.project('at = "post-fetch"\nhow = "hang"\ntimeout = "60s"', "b")
    place("lock")
    file = IndexFile(filename="b-2.0-py3-none-any.whl", url="https://x.example/b", sha256=None)
    with (
        ThreadPoolExecutor(1) as pool,
        Context(load_settings(Overrides(), os.environ), Told()) as context,
    ):
        context.stages.open(load_lock((place.root / "pypm.lock").read_bytes()), Pins.REQUIRED)
        hook = pool.submit(context.stages.post_fetch, file, Path("/nowhere"))
        assert said.wait(60), "the hook was never called"
        context.stages.close()
        assert isinstance(error := hook.exception(), PluginError)
        assert "took longer" not in error.message
        context.stages.post_fetch(file, Path("/nowhere"))  # No other host is started.


# Pins ----------------------------------------------------------------------------------------------------


def test_a_plugin_with_other_bytes_than_the_locked_ones_is_not_loaded(place: Place, recorder: Path) -> None:
    place.project("")
    said = place("lock").stderr
    assert "Pinned the plugin `recorder`: pypm_recorder.so sha256:" in said
    locked = (place.root / "pypm.lock").read_text()
    assert str(place.root) not in locked
    library = place.root / "plugins" / "pypm_recorder.so"
    library.write_bytes(library.read_bytes() + b"changed")
    for words in (("sync",), ("sync", "--locked"), ("sync", "--frozen"), ("run", "true")):
        said = place(*words, code=3).stderr
        assert "error: the plugin `recorder` is not the one that the lock names" in said
        assert "hint: `pypm lock` pins the one that is there now, if you trust it" in said
        assert "recorder: 1" not in said, "it was not loaded"
    place.project("", "a", "b")
    assert place("sync", code=3).stderr.count("not the one that the lock names") == 1, (
        "nor by a lock on the way"
    )
    assert (place.root / "pypm.lock").read_text() == locked
    place.project("")
    assert "would change" in place("lock", "--check", code=1).stderr
    assert "Pinned the plugin `recorder`" in place("lock").stderr
    place("sync", "--locked")


def test_pins_of_other_platforms_stay_and_where_a_file_lies_does_not_count(place: Place) -> None:
    place.project("")
    place("lock")
    lock = load_lock((place.root / "pypm.lock").read_bytes())
    (plugin,) = lock.plugins
    (here,) = plugin.builds
    assert (here.filename, here.origin) == ("pypm_recorder.so", "project")
    elsewhere = replace(here, platform="linux-riscv64", sha256=sha256_hex(b"elsewhere"))
    both = replace(plugin, builds=(elsewhere, here))
    (place.root / "pypm.lock").write_bytes(dump_lock(replace(lock, plugins=(both,))))
    place("lock", "--check")
    user = place.root.parent / "data" / "pypm" / "plugins"
    user.mkdir(parents=True)
    shutil.move(place.root / "plugins" / "pypm_recorder.so", user)
    place("sync", "--locked")
    only = replace(plugin, builds=(elsewhere,))
    (place.root / "pypm.lock").write_bytes(dump_lock(replace(lock, plugins=(only,))))
    said = place("sync", "--frozen", code=3).stderr
    assert "error: the lock does not vouch for the plugin `recorder`" in said
    assert "locked for `linux-riscv64`" in said
    place("lock")
    (plugin,) = load_lock((place.root / "pypm.lock").read_bytes()).plugins
    assert plugin.builds[0] == elsewhere
    assert plugin.builds[1].origin == "user"


def test_naming_a_plugin_makes_the_lock_stale(place: Place) -> None:
    place.project("", package=False)
    place("lock")
    place.project("")
    assert "is stale" in place("sync", "--locked", code=1).stderr
    assert "error: the lock does not name the plugin `recorder`" in place("sync", "--frozen", code=3).stderr
    place("sync")
    place.project("option = 1", grants='allow-read = ["packages"]')
    place("sync", "--locked")


# The fast path -------------------------------------------------------------------------------------------


REPLAY = """\
import sys
from pypm.launch import replay
sys.exit(99 if replay(sys.argv[1:]) is None else 0)
"""


def test_a_run_that_no_plugin_wants_a_stage_of_stays_on_the_fast_path(place: Place) -> None:
    def python(*words: str) -> int:
        # A process of its own: the fast path makes the sandbox itself, which a process with threads cannot.
        return subprocess.run(
            [sys.executable, *words, "run", "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        ).returncode

    build(SOURCES / "recorder.c", place.root / "plugins" / "pypm_recorder.so", "-DSTAGES=PYPM_POST_FETCH")
    place.project("")
    place("lock")
    assert python("-m", "pypm") == 0
    assert len(list((place.cache / "plans-v1").iterdir())) == 1
    assert python("-c", REPLAY) == 0
    library = place.root / "plugins" / "pypm_recorder.so"
    library.write_bytes(library.read_bytes() + b"changed")
    assert python("-c", REPLAY) == 99, "the whole program refuses it"
    assert python("-m", "pypm") == 3


# Consent -------------------------------------------------------------------------------------------------

GRANTS = 'allow-env = ["RECORDER_*"]'


def test_a_project_cannot_hand_out_what_is_the_users(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.project("", grants=GRANTS)
    said = place("lock").stderr
    assert "token=(null)" in said
    assert "warning: the plugin `recorder` does without `env:RECORDER_TOKEN`: the project grants it" in said
    assert "hint: `pypm plugin trust recorder` shows all of it and asks you" in said
    assert "grants wait for your consent" in place("plugin", "list").stdout
    said = place("plugin", "trust", "recorder", code=1)
    assert "granted  the variables `RECORDER_*`" in said.stdout
    assert "warning: nothing was changed" in said.stderr
    place("plugin", "trust", "--yes", "recorder")
    assert "token=t0ken" in place("lock").stderr
    place.project("endpoint = 1", grants=GRANTS)
    assert "token=(null)" in place("lock").stderr, "the options tell where it may go"
    place.project("", grants=GRANTS)
    assert "token=t0ken" in place("lock").stderr
    place("plugin", "trust", "--withdraw", "recorder")
    assert "token=(null)" in place("lock").stderr
    token = place("plugin", "trust", "--show", "recorder").stdout.strip()
    monkeypatch.setenv("PYPM_TRUST_PLUGINS", f"other, {token}")
    assert "token=t0ken" in place("lock").stderr
    place.project("endpoint = 1", grants=GRANTS)
    assert "token=(null)" in place("lock").stderr
    monkeypatch.setenv("PYPM_TRUST_PLUGINS", "recorder")
    assert "token=t0ken" in place("lock").stderr
    monkeypatch.setenv("PYPM_TRUST_PLUGINS", "recorder@yes")
    assert "is neither `NAME` nor `NAME@TOKEN`" in place("lock", code=2).stderr


def test_consent_is_to_one_place_and_one_content(place: Place, tmp_path: Path) -> None:
    place.project("", grants=GRANTS)
    place("plugin", "trust", "--yes", "recorder")
    kept = tmp_path / "config" / "pypm" / "trusted-plugins.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    library = place.root / "plugins" / "pypm_recorder.so"
    content = library.read_bytes()
    library.write_bytes(content + b"changed")
    assert "token=(null)" in place("lock").stderr
    library.write_bytes(content)
    other = tmp_path / "clone"
    shutil.copytree(place.root, other)
    assert "token=(null)" in place("--project", str(other), "lock").stderr
    kept.chmod(0o666)
    assert "can be written by other users, so none of its consents counts" in place("lock", code=1).stderr
    kept.chmod(0o600)
    kept.write_text("[]")
    assert "does not hold consents" in place("lock", code=1).stderr


# In Python -----------------------------------------------------------------------------------------------

PYTHON = b"""
import dataclasses
import needed

class Plugin:
    name, version = "snake", "1"
    stages = ("pre-sync", "post-fetch", "post-sync")
    permissions = ("read:packages",)

    def hook(self, context, host):
        frozen = dataclasses.is_dataclass(context) and context.__dataclass_params__.frozen
        names = " ".join(package.name for package in context.packages)
        host.log(f"{context.stage.value} {frozen} {needed.WORD}: {names}", level=2)
        if dict(context.options).get("at") == context.stage.value:
            host.diagnostic("no", hint="yes", package=context.packages[0])
            return 1

PLUGIN = Plugin()
"""


def test_a_plugin_in_a_package_of_the_lock(place: Place) -> None:
    points = b"[pypm.plugins]\nsnake = snake:PLUGIN\n"
    files = {"snake.py": PYTHON, "snake_plugin-1.0.dist-info/entry_points.txt": points}
    place.server.add("snake-plugin", make_wheel("snake-plugin", "1.0", requires=["needed"], files=files))
    place.server.add("needed", make_wheel("needed", "1.0", files={"needed.py": b"WORD = 'hello'\n"}))
    table = '[tool.pypm.plugins.snake]\npackage = "snake-plugin"\nallow-read = ["packages"]\n'
    place.project(table, package=False)
    assert (
        "`snake-plugin`, which is to bring the plugin `snake`, is not locked" in place("lock", code=1).stderr
    )
    place.project(table, "a", "snake-plugin", package=False)
    assert "Pinned the plugin `snake`: the package snake-plugin" in place("lock").stderr
    said = place("sync").stderr.splitlines()
    told = [line.partition("snake: ")[2] for line in said if line.startswith("warning: snake: ")]
    assert told == [
        "pre-sync True hello: a b needed snake-plugin",
        "post-fetch True hello: a b",
        "post-fetch True hello: needed snake-plugin",
        "post-sync True hello: ",
    ]
    place.project(table + 'at = "pre-sync"\n', "a", "snake-plugin", package=False)
    assert (
        "error: the plugin `snake` stopped at `pre-sync`: `a`: no\nhint: yes" in place("sync", code=1).stderr
    )

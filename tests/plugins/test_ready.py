"""Runs from a ready plan whose plugins want a stage: the same as the whole program, and each hook once."""

from __future__ import annotations

import marshal
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pypm.plugins.ready import _is_note
from pypm.workflow import plans
from tests.plugins.bench import SOURCES, build, needs_compiler, needs_sandbox
from tests.support.index_server import IndexServer, make_wheel
from tests.test_fast_path import ALLOWED, ALWAYS_THERE, CHECKOUT, FORBIDDEN, LISTING

pytestmark = [needs_sandbox, needs_compiler]

PROJECT = """\
[project]
name = "p"
version = "1"
requires-python = ">=3.10"
[tool.pypm]
package = false
{settings}
"""
SILENT = """\
#include "pypm_plugin.h"
static const char *const permissions[] = {"env:SECRET_*?", "read:project?", NULL};
const pypm_descriptor pypm_plugin = {PYPM_DESCRIPTOR_HEAD, "silent", "1", "", permissions,
                                     PYPM_PRE_RUN | PYPM_POST_RUN, 0};
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int pypm_hook(const pypm_context *context) {
    const char *token = getenv("SECRET_TOKEN");
    context->host->log(context->host->user, PYPM_NOTE, "a \\"note\\" with a backslash \\\\");
    printf("printed\\n");
    fflush(stdout);
    if (context->option_count > 0) {
        FILE *file;
        char path[4096];
        snprintf(path, sizeof path, "%s/written", context->scratch);
        file = fopen(path, "w");
        if (file == NULL || fclose(file) != 0) return 3;
    }
    return token != NULL && strcmp(token, "wrong") == 0 ? 5 : 0;
}
"""
SNAKE = b"""\
from needed import WORD

class Plugin:
    name, version, stages = "snake", "1", ("pre-run", "post-run")

    def hook(self, context, host):
        host.log(f"{context.stage.value} {WORD}", level=2)

PLUGIN = Plugin()
"""


@dataclass(kw_only=True)
class Place:
    """A project with plugins, and the two ways in which a run of it is answered."""

    root: Path
    environ: dict[str, str]

    @property
    def cache(self) -> Path:
        return self.root.parent / "cache"

    def project(self, settings: str) -> None:
        """Write the project, and have a plan made for `pypm run` of it."""
        (self.root / "pyproject.toml").write_text(PROJECT.format(settings=settings))
        self.whole("lock")

    def whole(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The whole program, and no plan of before."""
        shutil.rmtree(self.cache / "plans-v1", ignore_errors=True)
        return self.python("-m", "pypm", *words)

    def fast(self, *words: str) -> tuple[subprocess.CompletedProcess[str], int | None, set[str]]:
        """The fast path alone: what it printed, its code or None, and the modules that it loaded."""
        done = self.python("-c", LISTING, *words)
        *told, listing = done.stderr.splitlines(keepends=True)
        done.stderr = "".join(told)
        code, modules = eval(listing)
        return done, code, set(modules)

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def leftovers(self) -> list[Path]:
        return list((self.cache / "scratch").iterdir())


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorder, which tells of every call, and a plugin that tells nothing."""
    folder = tmp_path_factory.mktemp("ready")
    (folder / "silent.c").write_text(SILENT)
    build(folder / "silent.c", folder / "pypm_silent.so")
    stages = "-DSTAGES=PYPM_PRE_RUN|PYPM_POST_RUN"
    build(SOURCES / "recorder.c", folder / "pypm_recorder.so", stages)
    return folder


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a cache remembers of interpreters and descriptors."""
    return tmp_path_factory.mktemp("warm") / "cache"


@pytest.fixture
def place(tmp_path: Path, libraries: Path, warm: Path) -> Iterator[Place]:
    root = tmp_path / "p"
    (root / "plugins").mkdir(parents=True)
    for library in libraries.glob("*.so"):
        shutil.copy(library, root / "plugins")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYPM_")}
    environ |= {
        "PYTHONPATH": str(CHECKOUT),
        "PYPM_CACHE_DIR": str(tmp_path / "cache"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "SECRET_TOKEN": "t0ken",
    }
    if warm.exists():
        shutil.copytree(warm, tmp_path / "cache")
    yield Place(root=root, environ=environ)
    if not warm.exists():
        kept = ("interpreters-v1", "plugins-v1")
        for name in kept:
            if (tmp_path / "cache" / name).exists():
                shutil.copytree(tmp_path / "cache" / name, warm / name)


def test_hooks_that_say_nothing_load_next_to_nothing(place: Place) -> None:
    place.project('plugins = ["silent"]')
    assert place.whole("run", "true").returncode == 0
    done, code, modules = place.fast("run", "sh", "-c", "exit 7")
    assert (code, done.stdout, done.stderr) == (7, "", "")
    ours = {name for name in modules if not name.startswith("sandbox.")} - ALWAYS_THERE
    own = {"pypm.cli", "pypm.cli.ready_run", "pypm.plugins", "pypm.plugins.ready", "pypm.plugins.variables"}
    assert ours <= ALLOWED | own | {"select"}
    assert not ours & set(FORBIDDEN)
    assert place.leftovers() == []


@pytest.mark.parametrize(
    ("settings", "command"),
    [
        ("", "exit 0"),
        ("", "exit 9"),
        ("", "kill -KILL $$"),
        ('at = "pre-run"', "touch started"),
        ('at = "pre-run"\nhow = "grumble"', "exit 3"),
        ('at = "pre-run"\nhow = "segv"', "touch started"),
        ('at = "pre-run"\nhow = "exit"', "touch started"),
        ('at = "pre-run"\nhow = "fork"', "touch started"),
        ('at = "pre-run"\nhow = "log"', "touch started"),
        ('at = "pre-run"\nhow = "hang"\ntimeout = "0.3s"', "touch started"),
        ('at = "post-run"', "exit 0"),
        ('at = "post-run"', "exit 9"),
        ('at = "post-run"\nhow = "segv"', "exit 0"),
        ('at = "post-run"\nhow = "segv"', "kill -KILL $$"),
    ],
)
def test_whatever_a_hook_does_is_told_as_by_the_whole_program(
    place: Place, settings: str, command: str
) -> None:
    # Between two that are silent: one fails, and the others are called or not as they would be.
    place.project(f"[tool.pypm.plugins.silent]\n[tool.pypm.plugins.recorder]\n{settings}")
    whole = place.whole("run", "sh", "-c", command)
    done, code, modules = place.fast("run", "sh", "-c", command)
    assert (code, done.stdout, done.stderr) == (whole.returncode, whole.stdout, whole.stderr)
    assert "recorder: 1 pre-run " in whole.stderr, "it was called, and once"
    assert not {"click", "packaging.markers", "pypm.workflow.plugins"} & modules
    assert not (place.root / "started").exists()
    assert place.leftovers() == []


def test_what_a_plugin_wrote_is_gone(place: Place) -> None:
    place.project("[tool.pypm.plugins.silent]\nwrite = true")
    assert place.whole("run", "true").returncode == 0
    assert place.fast("run", "true")[1] == 0
    assert place.leftovers() == []


def test_quiet_is_quiet(place: Place) -> None:
    place.project("[tool.pypm.plugins.recorder]\n")
    assert place.whole("run", "-q", "true").stderr == ""
    done, code, _ = place.fast("run", "-q", "true")
    assert (code, done.stderr) == (0, "")


def test_a_command_that_there_is_none_of_calls_no_hook(place: Place) -> None:
    place.project("[tool.pypm.plugins.recorder]\n")
    assert place.whole("run", "true").returncode == 0
    done, code, _ = place.fast("run", "no-such-program")
    assert (code, done.stderr) == (None, "")
    (place.root / "script").write_text("no program\n")
    whole = place.whole("run", "./script")
    done, code, _ = place.fast("run", "./script")
    assert (code, done.stderr) == (whole.returncode, whole.stderr) and code == 126
    assert "2 post-run" in done.stderr


def test_variables_are_read_anew_and_not_kept(place: Place) -> None:
    place.environ["PYPM_TRUST_PLUGINS"] = "silent"
    place.project('[tool.pypm.plugins.silent]\nallow-env = ["SECRET_*"]')
    assert place.whole("run", "true").returncode == 0
    (plan,) = (place.cache / "plans-v1").iterdir()
    assert b"SECRET_" in plan.read_bytes() and b"t0ken" not in plan.read_bytes()
    assert place.fast("run", "true")[1] == 0
    place.environ["SECRET_TOKEN"] = "wrong"
    done, code, _ = place.fast("run", "true")
    assert code == 1 and "the plugin `silent` failed at `pre-run`: it returned 5" in done.stderr


def test_what_is_withheld_is_told_each_time_and_consent_counts_at_once(place: Place) -> None:
    place.project('[tool.pypm.plugins.silent]\nallow-env = ["SECRET_*"]')
    assert "the plugin `silent` does without" in place.whole("run", "true").stderr
    assert place.fast("run", "true")[1] is None
    assert place.python("-m", "pypm", "plugin", "trust", "silent", "--yes").returncode == 0
    assert place.python("-m", "pypm", "run", "true").returncode == 0
    assert place.fast("run", "true")[1] == 0
    assert place.python("-m", "pypm", "plugin", "trust", "silent", "--revoke").returncode == 0
    assert place.fast("run", "true")[1] is None


def test_other_bytes_are_left_to_the_whole_program(place: Place) -> None:
    place.project('plugins = ["silent"]')
    assert place.whole("run", "true").returncode == 0
    library = place.root / "plugins" / "pypm_silent.so"
    library.write_bytes(library.read_bytes() + b"changed")
    assert place.fast("run", "true")[1] is None
    assert place.python("-m", "pypm", "run", "true").returncode == 3


def test_a_plugin_of_a_package_runs_from_the_store(place: Place) -> None:
    points = b"[pypm.plugins]\nsnake = snake:PLUGIN\n"
    files = {"snake.py": SNAKE, "snake_plugin-1.0.dist-info/entry_points.txt": points}
    with IndexServer() as server:
        server.add("snake-plugin", make_wheel("snake-plugin", "1.0", requires=["needed"], files=files))
        server.add("needed", make_wheel("needed", "1.0", files={"needed.py": b"WORD = 'hello'\n"}))
        place.environ["PYPM_DEFAULT_INDEX"] = server.url
        place.project(
            '[tool.pypm.plugins.snake]\npackage = "snake-plugin"\n[dependency-groups]\ndev = ["snake-plugin"]'
        )
        whole = place.whole("run", "true")
        whole = place.whole("run", "true")
    done, code, _ = place.fast("run", "true")
    assert (code, done.stderr) == (0, whole.stderr)
    assert done.stderr == "warning: snake: pre-run hello\nwarning: snake: post-run hello\n"


def test_a_host_that_does_not_load_is_left_to_the_whole_program(place: Place) -> None:
    place.project("[tool.pypm.plugins.recorder]\n")
    assert place.whole("run", "true").returncode == 0
    _change(place, "plugins", lambda known: ({**known[0], "load": known[0]["load"].replace(b".so", b".no")},))
    done, code, _ = place.fast("run", "true")
    assert (code, done.stderr) == (None, "")
    assert place.leftovers() == []


def test_a_sandbox_that_cannot_be_made_after_a_hook_is_told_and_the_plan_forgotten(place: Place) -> None:
    place.project("[tool.pypm.plugins.recorder]\n")
    assert place.whole("run", "true").returncode == 0
    _change(place, "sandbox", lambda known: {**known, "version": 0})
    done, code, _ = place.fast("run", "true")
    assert code == 125
    assert done.stderr.count("recorder: 1 pre-run") == 1
    assert "error: the prepared plan was made by another version" in done.stderr
    assert place.fast("run", "true")[1] is None


def test_an_interrupt_ends_a_hook_and_the_run(place: Place) -> None:
    place.project('[tool.pypm.plugins.recorder]\nat = "pre-run"\nhow = "hang"\ntimeout = "60s"')
    words = [sys.executable, "-m", "pypm", "run", "touch", "started"]
    # The hook hangs in the run that makes the plan, too, which is interrupted when it has made it.
    for _ in range(2):
        running = subprocess.Popen(
            words,
            cwd=place.root,
            env=place.environ,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert running.stderr is not None
        heard = ""
        while "Running the plugin recorder" not in heard:
            line = running.stderr.readline()
            assert line, heard
            heard += line
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 130
        assert running.stderr.read() == "Interrupted\n"
        running.stderr.close()
    assert not (place.root / "started").exists()
    assert place.leftovers() == []


def test_the_end_of_pypm_ends_the_hosts(place: Place) -> None:
    place.project('[tool.pypm.plugins.recorder]\nat = "pre-run"\nhow = "grumble"')
    assert place.whole("run", "true").returncode == 0
    running = subprocess.Popen(
        [sys.executable, "-m", "pypm", "run", "sh", "-c", "echo started; sleep 60"],
        cwd=place.root,
        env=place.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert running.stdout is not None and running.stdout.readline() == b"started\n"
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    assert len(children) >= 2, "the host's supervisor, and the command's first process"
    running.kill()
    running.wait()
    running.stdout.close()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() and not _is_dead(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_dead(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return True


def _change(place: Place, name: str, change: object) -> None:
    """Rewrite a part of the only plan."""
    assert callable(change)
    (path,) = (place.cache / "plans-v1").iterdir()
    key, files, kinds, listings, payload = marshal.loads(path.read_bytes()[8:])
    payload[name] = change(payload[name])
    plans.save(str(path), key, plans.Facts(files, kinds, listings), payload)


@pytest.mark.parametrize(
    ("line", "known"),
    [
        (b'{"log":[1,"a note"]}', True),
        (b'{"log":[0,""]}', True),
        (b'{"log":[1,"\\"\\\\"]}', True),
        (b'{"log":[2,"a warning"]}', False),
        (b'{"log":[1,"a","b"]}', False),
        (b'{"log":[1,"a"],"offer":["b"]}', False),
        (b'{"log":[1,"a\\"]}', False),
        (b'{"log":[1,"]}', False),
        (b'{"progress":[1,2,""]}', False),
        (b"", False),
    ],
)
def test_only_notes_that_nobody_is_shown_are_dropped(line: bytes, known: bool) -> None:
    assert _is_note(line) is known

"""A protected name that is replaced from outside: protected again, or the run is ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import Command, ExitStatus, Mount, spawn
from sandbox.linux import constants as c
from sandbox.linux.guard_events import Events
from tests.sandbox.conftest import policy, python

pytestmark = pytest.mark.usefixtures("namespaces")

WAITING = """
import os, time
open("ready", "w").close()
while not os.path.exists("go"): time.sleep(0.01)
for name in ("kept", "missing"):
    try: open(name, "a").write("planted")
    except OSError: pass
"""
"""Writes what it can once somebody outside made `go`."""


@pytest.fixture
def guarded(project: Path) -> Path:
    (project / "kept").write_text("first")
    return project


def _run(project: Path, act: Callable[[], object], script: str = WAITING) -> ExitStatus:
    mounts = (
        Mount.bind(str(project), writable=True),
        Mount.protect(f"{project}/kept"),
        Mount.protect(f"{project}/missing"),
    )
    with spawn(policy(*mounts), Command(argv=python(script), cwd=str(project))) as process:
        deadline = time.monotonic() + 60
        while not (project / "ready").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        act()
        # Longer than the guard waits for a writer; a busy machine takes its time.
        time.sleep(0.7)
        (project / "go").touch()
        return process.wait(timeout=20)


def _beside(project: Path, name: str, content: str = "second") -> None:
    (project / f".{name}.tmp").write_text(content)
    (project / f".{name}.tmp").rename(project / name)


def test_a_file_that_is_renamed_in_is_protected_again(guarded: Path) -> None:
    def act() -> None:
        for number in range(3):
            _beside(guarded, "kept", f"version {number}")
            time.sleep(0.2)
        _beside(guarded, "missing")

    status = _run(guarded, act)
    assert (status.code, status.lost) == (0, "")
    assert (guarded / "kept").read_text() == "version 2"
    assert (guarded / "missing").read_text() == "second"


def test_a_file_that_is_written_in_its_place_needs_nothing(guarded: Path) -> None:
    status = _run(guarded, lambda: (guarded / "kept").write_text("second"))
    assert (status.code, status.lost) == (0, "")
    assert (guarded / "kept").read_text() == "second"


def _remove(project: Path) -> None:
    (project / "kept").unlink()


def _make_anew(project: Path) -> None:
    (project / "kept").rename(project / "kept~")
    (project / "kept").write_text("second")


def _through_a_second_name(project: Path) -> None:
    (project / "new").write_text("second")
    os.link(project / "new", project / "src")
    (project / "new").rename(project / "kept")


def _written_twice(project: Path) -> None:
    (project / "new").write_text("second")
    with (project / "new").open("a") as stream:
        stream.write("third")
    (project / "new").rename(project / "kept")


def _under_a_used_name(project: Path) -> None:
    (project / "new").write_text("second")
    (project / "new").unlink()
    (project / "new").write_text("third")
    (project / "new").rename(project / "kept")


def _from_another_folder(project: Path) -> None:
    (project / "src").mkdir()
    (project / "src" / "new").write_text("second")
    (project / "src" / "new").rename(project / "kept")


def _as_a_link(project: Path) -> None:
    (project / "new").symlink_to("elsewhere")
    (project / "new").rename(project / "kept")


def _as_a_folder(project: Path) -> None:
    (project / "kept").unlink()
    (project / "kept").mkdir()


@pytest.mark.parametrize(
    "act",
    [
        _remove,
        _make_anew,
        _through_a_second_name,
        _written_twice,
        _under_a_used_name,
        _from_another_folder,
        _as_a_link,
        _as_a_folder,
    ],
)
def test_whatever_cannot_be_told_from_the_payloads_work_ends_the_run(
    guarded: Path, act: Callable[[Path], None]
) -> None:
    status = _run(guarded, lambda: act(guarded))
    assert status.lost == f"{guarded}/kept"
    assert status.signal == signal.SIGKILL


def test_a_file_that_is_held_open_for_writing_ends_the_run(guarded: Path) -> None:
    holds = (
        "import os, time; open('ready', 'w').close()\n"
        "while not os.path.exists('new'): time.sleep(0.001)\n"
        "held = open('new', 'a'); open('holding', 'w').close(); time.sleep(20)"
    )

    def act() -> None:
        (guarded / "new").write_text("second")
        while not (guarded / "holding").exists():
            time.sleep(0.001)
        (guarded / "new").rename(guarded / "kept")

    assert _run(guarded, act, holds).lost == f"{guarded}/kept"
    assert (guarded / "kept").read_text() == "second"


def test_many_files_of_the_payloads_own_disturb_nobody(guarded: Path) -> None:
    script = (
        "import os; open('ready', 'w').close()\n"
        "for n in range(20000):\n"
        " os.close(os.open(f'f{n % 50}', os.O_CREAT | os.O_WRONLY)); os.unlink(f'f{n % 50}')\n"
        "while not os.path.exists('go'): pass"
    )
    status = _run(guarded, lambda: None, script)
    assert (status.code, status.lost) == (0, "")


def test_lost_events_are_made_up_for_by_a_look(guarded: Path) -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    event = (-1 & 0xFFFFFFFF).to_bytes(4, "little") + c.IN_Q_OVERFLOW.to_bytes(4, "little") + bytes(8)
    events = Events(read_end, ((str(guarded), (("kept", str(guarded / "kept")),)),))
    os.write(write_end, event)
    assert events.react() == str(guarded / "kept"), "no mount keeps it from being written"
    events = Events(read_end, (("/proc", (("version", "/sys/kernel/none"),)),))
    os.write(write_end, event)
    assert events.react() == "", "what is not there under any mount cannot have been written"
    os.close(read_end)
    os.close(write_end)

"""Ctrl-C and SIGKILL at any moment of a sync: the old environment or none, and the next sync is right."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import sandbox
from tests.support.index_server import Fault, IndexServer, make_wheel

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = 4
TRIALS = 3

_host = sandbox.probe()
pytestmark = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")


class Place:
    """A project with a lock, and the real program."""

    def __init__(self, folder: Path, server: IndexServer) -> None:
        self.root = folder / "project"
        self.root.mkdir()
        self.cache = folder / "cache"
        self.server = server
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("PYPM_")}
        self.environ |= {
            "PYTHONPATH": str(CHECKOUT),
            "PYPM_CACHE_DIR": str(self.cache),
            "PYPM_DEFAULT_INDEX": server.url,
        }

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pypm", *words],
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> None:
        process = self.start(*words)
        _, told = process.communicate()
        assert process.returncode == 0, told

    def environment(self) -> dict[str, tuple[int, str]]:
        """Every file and link of `.venv`: its mode, and its content or destination."""
        found = {}
        location = self.root / ".venv"
        for path in sorted(location.rglob("*")):
            name = str(path.relative_to(location))
            if path.is_symlink():
                found[name] = (0, str(path.readlink()))
            elif path.is_file():
                found[name] = (path.stat().st_mode, hashlib.sha256(path.read_bytes()).hexdigest())
        return found

    def beside(self) -> set[str]:
        return {path.name for path in self.root.iterdir()}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with IndexServer() as server:
        names = [f"p{number}" for number in range(PACKAGES)]
        for name in names:
            files = {f"{name}/m{module}.py": f"x = {module}\n".encode() * 50 for module in range(12)}
            server.add(name, make_wheel(name, "1.0", files={**files, f"{name}/__init__.py": b""}))
        made = Place(tmp_path, server)
        listed = ", ".join(f'"{name}"' for name in names)
        (made.root / "pyproject.toml").write_text(
            f'[project]\nname = "p"\nversion = "1"\ndependencies = [{listed}]\n[tool.pypm]\npackage = false\n'
        )
        made.run("lock")
        yield made


def wait_until_it_downloads(place: Place) -> None:
    deadline = time.monotonic() + 60
    while not any(request.path.endswith(".whl") for request in list(place.server.requests)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ctrl_c_is_one_line_and_130(place: Place) -> None:
    place.server.fault("/files/p1-1.0-py3-none-any.whl", Fault(drip_seconds=0.05, drip_bytes=64))
    process = place.start("sync", "--frozen")
    wait_until_it_downloads(place)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "Interrupted"
    assert "Traceback" not in told
    assert place.beside() == {"pyproject.toml", "pypm.lock"}
    place.server.heal()
    place.run("sync", "--frozen")
    assert (place.root / ".venv/lib").is_dir()


def test_sigkill_at_random_moments(place: Place) -> None:
    place.run("sync", "--frozen")
    clean = place.environment()
    started = time.monotonic()
    shutil.rmtree(place.root / ".venv")
    remove_cache(place)
    place.run("sync", "--frozen")
    seconds = time.monotonic() - started
    moments = random.Random(20)
    for trial in range(TRIALS):
        if trial % 2:
            shutil.rmtree(place.root / ".venv", ignore_errors=True)
            remove_cache(place)
        else:
            (place.root / ".venv" / "pypm-state").unlink(missing_ok=True)
        process = place.start("sync", "--frozen")
        time.sleep(moments.uniform(0.1, 0.95) * seconds)
        process.kill()
        process.communicate()
        found = place.environment()
        assert found in ({}, clean, {name: fact for name, fact in clean.items() if name != "pypm-state"})
        place.run("sync", "--frozen")
        assert place.environment() == clean
        assert place.beside() == {"pyproject.toml", "pypm.lock", ".venv"}


def remove_cache(place: Place) -> None:
    """Empty the cache; its trees are read-only."""
    process = place.start("cache", "clean")
    process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize("words", [("lock", "--refresh"), ("sync", "--frozen")])
def test_an_interrupt_does_not_wait_for_a_server_that_sends_nothing(
    place: Place, words: tuple[str, ...]
) -> None:
    silence = Fault(delay_seconds=40)
    for path in ("/simple/p0/", *(f"/files/p{number}-1.0-py3-none-any.whl" for number in range(PACKAGES))):
        place.server.fault(path, silence)
    asked = len(place.server.requests)
    process = place.start(*words)
    deadline = time.monotonic() + 60
    while len(place.server.requests) == asked:
        assert time.monotonic() < deadline, "nothing was asked"
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert told.splitlines()[-1] == "Interrupted"
    assert not (place.root / ".venv").exists()


FINALIZER = """
class Finalized:
    def __del__(self):
        raise KeyboardInterrupt  # What a Ctrl-C at this very moment does.

def invoke(context):
    Finalized()
    time.sleep(20)
"""
SWALLOWED = """
def invoke(context):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    except BaseException:  # As C code does that looks something up and forgets every error.
        pass
    time.sleep(20)
"""
IMPORT_SYSTEM = """
class Finder:
    @staticmethod
    def find_spec(name, path, target=None):
        if name == "colorsys":
            # Where Python may hold the lock of all imports: an exception here would never give it back.
            signal.getsignal(signal.SIGINT)(signal.SIGINT, sys._getframe(1))
            found.append(name)

def invoke(context):
    sys.meta_path.insert(0, Finder)
    try:
        import colorsys
        time.sleep(20)
    finally:
        assert found and "colorsys" in sys.modules
        thread = threading.Thread(target=__import__, args=["this_is_not_there"])
        thread.start()
        thread.join()
"""
SLOW_CLEANING = """
def invoke(context):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(20)
    finally:
        time.sleep(1.5)
        sys.stderr.write("cleaned\\n")
"""


@pytest.mark.parametrize(
    ("invoke", "told"),
    [
        (FINALIZER, ["Interrupted"]),
        (SWALLOWED, ["Interrupted"]),
        (IMPORT_SYSTEM, ["Interrupted"]),
        (SLOW_CLEANING, ["cleaned", "Interrupted"]),
    ],
    ids=["finalizer", "swallowed", "import system", "slow cleaning"],
)
def test_an_interrupt_is_never_lost_nor_raised_twice(invoke: str, told: list[str]) -> None:
    program = f"""
import os, signal, sys, threading, time
from pypm.cli import app
found = []
{invoke}
root = app.root()
root.invoke = invoke
app.root = lambda: root
sys.exit(app.main(["self", "version"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, timeout=15, check=False
    )
    assert (done.returncode, done.stderr.splitlines()) == (130, told)

"""`python -m integration.kills`: a signal at a random moment, to the supervisor, to pid 1 or to the job.

Whatever the moment, nothing may be left: no process, no mount, no file in the project, no scratch folder, and
the terminal as it was. The next run must work. Moments lie between the start and shortly after the moment in
which the command runs, so that most of them lie in the making of the sandbox.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import itertools
import os
import pty
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from integration.peers import CHECKOUT

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGTSTP")
VICTIMS = ("supervisor", "init", "group")
WAYS = ("run", "shell", "spawn")
"""`pypm run` by its ready plan, the same on a terminal, and `sandbox.run` with its helper."""

_PATIENCE_SECONDS = 10.0
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_PROJECT = (
    '[project]\nname = "killed"\nversion = "0"\nrequires-python = ">=3.10"\n[tool.pypm]\npackage = false\n'
)
_START = "import sys; from pypm.launch import main; sys.exit(main())"
_SPAWN = """
import sys
import sandbox
root = sys.argv[1]
policy = sandbox.Policy(
    mounts=(
        sandbox.Mount.bind(root, writable=True),
        sandbox.Mount.protect(f"{root}/pyproject.toml"),
        sandbox.Mount.protect(f"{root}/.git/hooks", directory=True),
    ),
    environment=(("PATH", "/usr/bin:/bin"),),
    home="/home/u",
)
sys.exit(sandbox.run(policy, sandbox.Command(argv=tuple(sys.argv[2:]), cwd=root)).returncode)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One signal."""

    way: str
    victim: str
    signal: str
    moment: float
    """As a share of the time until the command runs; above 1 it runs already."""


def draw(count: int, seed: int) -> list[Trial]:
    """Return trials of every kind in turn, their moments at random."""
    chance = random.Random(seed)
    kinds = list(itertools.product(WAYS, VICTIMS, SIGNALS))
    chance.shuffle(kinds)
    return [
        Trial(way=way, victim=victim, signal=name, moment=chance.random() * 1.2)
        for way, victim, name in itertools.islice(itertools.cycle(kinds), count)
    ]


class Range:
    """A project, a cache, and the way to start and to look."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.project = place / "project"
        self.project.mkdir()
        (self.project / "pyproject.toml").write_text(_PROJECT)
        self.scratch = place / "scratch"
        self.scratch.mkdir()
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(place),
            "TERM": "xterm",
            "TMPDIR": str(self.scratch),
            "PYPM_CACHE_DIR": str(place / "cache"),
            "PYTHONPATH": ":".join([str(CHECKOUT), *(path for path in sys.path if "site-packages" in path)]),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # Whoever loses its parent becomes our child, so that nothing that is left can hide.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._others = set(_children(os.getpid()))
        """Children of whoever looks, which come and go without regard to the trials."""
        for words in (("lock",), ("sync",), ("run", "true")):
            done = subprocess.run(
                self._argv("run", words),
                cwd=self.project,
                env=self._environ,
                capture_output=True,
                check=False,
            )
            if done.returncode:
                raise SystemExit(done.stderr.decode())
        # The helper of the last of these may need a moment to end, and is nothing that may stay.
        self._before = {**self._state(), "processes": []}
        """What must be the same after each trial."""
        # The first one of a kind works out the plan of the others.
        self._seconds = {way: min(self._time(way) for _ in range(3)) for way in WAYS}

    def _argv(self, way: str, words: tuple[str, ...]) -> list[str]:
        if way == "spawn":
            return [sys.executable, "-c", _SPAWN, str(self.project), *words[1:]]
        return [sys.executable, "-c", _START, *words]

    def _time(self, way: str) -> float:
        """Seconds from the start to the moment in which the command runs."""
        started = time.monotonic()
        process, terminal = self._begin(way, ("run", "touch", "started"))
        while not (self.project / "started").exists() and time.monotonic() < started + _PATIENCE_SECONDS:
            time.sleep(0.001)
        seconds = time.monotonic() - started
        self._finish(process, terminal)
        (self.project / "started").unlink()
        return seconds

    def _begin(
        self, way: str, words: tuple[str, ...]
    ) -> tuple[subprocess.Popen[bytes], tuple[int, int] | None]:
        pair = pty.openpty() if way == "shell" else None
        ends = subprocess.DEVNULL if pair is None else pair[1]
        process = subprocess.Popen(
            self._argv(way, words),
            cwd=self.project,
            env=self._environ,
            stdin=ends,
            stdout=ends,
            stderr=subprocess.DEVNULL if pair is None else ends,
            start_new_session=True,
        )
        return process, pair

    def run(self, trial: Trial) -> list[str]:
        """Start, signal, look; return what was wrong."""
        process, terminal = self._begin(trial.way, ("run", "sleep", "60"))
        before = termios.tcgetattr(terminal[1]) if terminal else None
        time.sleep(trial.moment * self._seconds[trial.way])
        self._send(process, trial)
        if trial.signal == "SIGTSTP":
            time.sleep(0.1)
            self._send(process, trial, signal.SIGCONT)
        wrong = []
        must_end = trial.signal in ("SIGKILL", "SIGTERM", "SIGHUP") and trial.victim != "init"
        if (
            not self._finish(process, terminal, patience_seconds=_PATIENCE_SECONDS if must_end else 0.5)
            and must_end
        ):
            wrong.append("it did not end")
        wrong += self._eventually_clean()
        if terminal and before is not None:
            if not _eventually(lambda: termios.tcgetattr(terminal[1]) == before):
                wrong.append("the terminal is not as it was")
            for end in terminal:
                os.close(end)
        return wrong

    def _send(self, process: subprocess.Popen[bytes], trial: Trial, number: int | None = None) -> None:
        number = getattr(signal, trial.signal) if number is None else number
        inside = next(_inside(process.pid), None) if trial.victim == "init" else None
        with contextlib.suppress(ProcessLookupError):
            if trial.victim == "group":
                os.killpg(process.pid, number)
            else:
                os.kill(inside or process.pid, number)

    def _finish(
        self,
        process: subprocess.Popen[bytes],
        terminal: tuple[int, int] | None,
        patience_seconds: float = 5.0,
    ) -> bool:
        """Wait for the end, helping with SIGTERM after a while; whether it ended by itself."""
        ended = True
        for number, seconds in (
            (None, patience_seconds),
            (signal.SIGTERM, 3.0),
            (signal.SIGKILL, _PATIENCE_SECONDS),
        ):
            if number is not None:
                ended = False
                os.killpg(process.pid, number)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if terminal is not None and select.select([terminal[0]], [], [], 0)[0]:
                    os.read(terminal[0], 65536)
                if process.poll() is not None:
                    return ended
                time.sleep(0.005)
        return False

    def _state(self) -> dict[str, object]:
        """Everything that must be the same afterwards. The dead that were left to us are buried first."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        cache = Path(self._environ["PYPM_CACHE_DIR"])
        return {
            "processes": sorted(set(_children(os.getpid())) - self._others),
            # Of ours alone: others may mount something on this machine meanwhile.
            "mounts": [
                line
                for line in Path("/proc/self/mountinfo").read_text().splitlines()
                if str(self._place) in line
            ],
            "files in the project": sorted(_files(self.project)),
            "scratch folders": sorted(map(str, (*self.scratch.iterdir(), *cache.glob("scratch/*")))),
        }

    def _eventually_clean(self) -> list[str]:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            state = self._state()
            different = [name for name, value in state.items() if value != self._before[name]]
            if not different:
                return []
            if time.monotonic() > deadline:
                return [f"{name} are left: {_more(state[name], self._before[name])}" for name in different]
            time.sleep(0.02)

    def still_works(self) -> bool:
        """Whether the next run does what it should."""
        words = self._argv("run", ("run", "sh", "-c", "exit 3"))
        return subprocess.run(words, cwd=self.project, env=self._environ, check=False).returncode == 3


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    """Names and modes; what goes away meanwhile is gone."""
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield path.name, path.lstat().st_mode


def _more(found: object, before: object) -> str:
    assert isinstance(found, list) and isinstance(before, list)
    return ", ".join(str(item) for item in found if item not in before)[:200]


def _eventually(condition: object) -> bool:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.01)
    return False


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _inside(pid: int) -> Iterator[int]:
    """The first processes of other process namespaces below `pid`: pid 1 of a sandbox."""
    try:
        ours = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return
    for child in _children(pid):
        try:
            other = Path(f"/proc/{child}/ns/pid").readlink()
        except OSError:
            continue
        if other != ours:
            yield child
        else:
            yield from _inside(child)


def main() -> int:
    """Exit 0 if no trial left anything behind."""
    parser = argparse.ArgumentParser(prog="python -m integration.kills", description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 100_000)
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="kills-", dir="/tmp")).resolve()
    place.chmod(0o755)
    failures = 0
    try:
        ground = Range(place)
        print(f"seed {options.seed}")
        for number, trial in enumerate(draw(options.trials, options.seed), 1):
            wrong = ground.run(trial)
            failures += bool(wrong)
            told = "; ".join(wrong) or "nothing left"
            print(
                f"{number:4} {trial.way:6} {trial.signal:8} {trial.victim:10} at {trial.moment:4.2f}  {told}",
                flush=True,
            )
        if not ground.still_works():
            failures += 1
            print("the next run does not work")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(f"{options.trials} trials, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

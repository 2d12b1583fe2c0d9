"""SIGKILL at random moments of a sync of real wheels; the next one must make what an untouched one makes."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from integration.faults.arena import Program, finish, remove_environment, require
from integration.faults.snapshot import Snapshot, difference, snapshot, trees, unfinished
from integration.faults.table import Row
from pypm.files import remove_tree
from tests.support.index_server import IndexServer

_SECTIONS = "/pypm-faults-"
SITUATIONS = ("cold", "warm", "replace")
"""An empty cache; a full one without `.venv`; a full one with another `.venv`."""
VICTIMS = ("group", "process")
"""The whole process group, as a terminal or a runner does it, or the leading process alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One kill."""

    situation: str
    victim: str
    moment: float
    """As a share of the seconds that an untouched run takes."""

    def __str__(self) -> str:
        return f"{self.situation}, {self.victim}, at {self.moment:.0%}"


def draw(count: int, seed: int) -> list[Trial]:
    """Return trials whose moments cover the whole run evenly, each at random within its share."""
    chance = random.Random(seed)
    kinds = list(itertools.islice(itertools.cycle(itertools.product(SITUATIONS, VICTIMS)), count))
    trials = []
    for kind in dict.fromkeys(kinds):
        many = kinds.count(kind)
        for number in range(many):
            moment = (number + chance.random()) / many
            trials.append(Trial(situation=kind[0], victim=kind[1], moment=moment))
    chance.shuffle(trials)
    return trials


class Killing:
    """Runs the trials of one program."""

    def __init__(self, program: Program, server: IndexServer) -> None:
        self._program = program
        self._server = server
        self._is_ours = program.name == "pypm"
        self._mounted = self._mounts()
        self._clean_trees: Snapshot = {}
        self._clean: dict[bool, Snapshot] = {}
        self._seconds: dict[str, float] = {}

    def row(self, trials: list[Trial], *, expired: Callable[[], bool]) -> Row:
        """Run the trials, until the time is over."""
        self._calibrate()
        wrong: list[str] = []
        halfway = done = 0
        for trial in trials:
            if done and expired():
                break
            done += 1
            found, torn = self._run(trial)
            halfway += bool(torn)
            if found or (torn and self._is_ours):
                wrong.append(f"{trial}: {'; '.join(found) or torn}")
        return Row(
            fault="SIGKILL at a random moment: sync of real wheels",
            program=self._program.name,
            trials=done,
            wrong=tuple(wrong),
            halfway=halfway,
        )

    def _calibrate(self) -> None:
        """Make the clean environments with an untouched cache, and time each situation."""
        program = self._program
        untouched = program.cache.with_name("untouched")
        for extra in (False, True):
            remove_environment(self._program)
            require(finish(program.start(extra=extra, cache=untouched)))
            self._clean[extra] = self._snapshot()
        self._clean_trees = trees(untouched)
        for situation in SITUATIONS:
            self._seconds[situation] = self._time(situation)

    def _snapshot(self) -> Snapshot:
        return snapshot(self._program.venv, bytecode=self._is_ours)

    def _time(self, situation: str) -> float:
        self._arrange(situation)
        started = time.monotonic()
        require(finish(self._program.start()))
        return time.monotonic() - started

    def _run(self, trial: Trial) -> tuple[list[str], str]:
        """Arrange, start, kill, look, sync again, compare."""
        program = self._program
        self._arrange(trial.situation)
        process = program.start()
        time.sleep(trial.moment * self._seconds[trial.situation])
        if trial.victim == "group":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.communicate()
        torn = self._torn()
        parts = _parts(program.cache)
        asked = len(self._server.requests)
        wrong = [finish(program.start()).wrong, difference(self._snapshot(), self._clean[True])]
        if self._is_ours:
            wrong += [difference(trees(program.cache), self._clean_trees)]
            wrong += [f"left behind: {name}" for name in unfinished(program.cache, program.project)]
            wrong += self._not_resumed(parts, asked)
        wrong += [f"still running: {name}" for name in _orphans()]
        if self._mounts() != self._mounted:
            wrong.append("mounts are left")
        return [what for what in wrong if what], torn

    def _arrange(self, situation: str) -> None:
        program = self._program
        if situation == "cold":
            remove_tree(program.cache)
        if situation == "replace":
            require(finish(program.start(extra=False)))
        else:
            remove_environment(self._program)

    def _mounts(self) -> int:
        """Count what is mounted here, but for what other sections mount in their folders."""
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        home = str(self._program.home)
        return sum(_SECTIONS not in line or home in line for line in lines)

    def _torn(self) -> str:
        """Say how `.venv` is neither the old environment nor the new one nor none, right after the kill."""
        found = self._snapshot()
        if not found or found in self._clean.values():
            return ""
        return f"half an environment after the kill: {difference(found, self._clean[True])}"

    def _not_resumed(self, parts: dict[str, int], asked: int) -> Iterator[str]:
        requests = self._server.requests[asked:]
        for name, size_bytes in parts.items():
            ranges = [
                request.headers.get("range")
                for request in requests
                if request.method == "GET" and request.path.endswith(f"/{name}")
            ]
            if any(asked_range != f"bytes={size_bytes}-" for asked_range in ranges):
                yield f"`{name}` was not resumed at {size_bytes}: {ranges}"


def _parts(cache: Path) -> dict[str, int]:
    found = {path.name.removesuffix(".part"): path.stat().st_size for path in cache.glob("wheels/*/*/*.part")}
    return {name: size_bytes for name, size_bytes in found.items() if size_bytes}


def _orphans() -> list[str]:
    """Return the processes that were left to us, the reaper of all that is started here; reap the dead."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    listed = subprocess.run(
        ["ps", "-o", "args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False
    )
    return [line for line in listed.stdout.splitlines() if not line.startswith("ps ")]

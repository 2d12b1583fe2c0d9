"""Many syncs of overlapping projects at once on one cold cache, with `cache prune` beside them."""

from __future__ import annotations

import re
import sys
import threading
from collections import Counter
from pathlib import Path

from integration.faults.arena import pypm
from integration.faults.kills import Verdict
from integration.faults.snapshot import difference, snapshot, trees, unfinished
from pypm.files import remove_tree
from tests.support.index_server import IndexServer

CROWD = 8
_DEPENDENCY = re.compile(r'"[^"]+"')


class Crowd:
    """Several copies of the project that each leave out another dependency, on one cache."""

    def __init__(self, folder: Path, pyproject: str, server: IndexServer) -> None:
        self._server = server
        self._cache = folder / "cache"
        self._untouched = folder / "untouched"
        self._programs = [
            pypm(folder / str(number), _without(pyproject, number), server) for number in range(CROWD)
        ]

    def run(self, *, days: int) -> Verdict:
        """Sync all at once beside `prune --days`; compare each environment with one made alone.

        With days, no wheel may be downloaded twice. Without, `prune` may remove what a sync has left before
        the next one begins, but never what one is using.
        """
        remove_tree(self._cache)
        asked = len(self._server.requests)
        over = threading.Event()
        complaints: list[str] = []
        pruning = threading.Thread(target=self._prune, args=(days, over, complaints))
        processes = [program.start(cache=self._cache) for program in self._programs]
        pruning.start()
        wrong = [program.finish(process) for program, process in zip(self._programs, processes, strict=True)]
        over.set()
        pruning.join()
        fetched = Counter(
            request.path
            for request in self._server.requests[asked:]
            if request.method == "GET" and request.path.endswith(".whl")
        )
        if days:
            wrong += [
                f"`{path}` was downloaded {times} times" for path, times in fetched.items() if times > 1
            ]
        made = [snapshot(program.venv) for program in self._programs]
        for program, found in zip(self._programs, made, strict=True):
            remove_tree(program.venv)
            wrong.append(program.finish(program.start(cache=self._untouched)))
            wrong.append(difference(found, snapshot(program.venv)))
            wrong += [f"left behind: {name}" for name in unfinished(self._cache, program.project)]
        if days:
            wrong.append(difference(trees(self._cache), trees(self._untouched)))
        failures = tuple(filter(None, (*wrong, *complaints)))
        told = "; ".join(failures) or "as clean"
        row = f"pypm  {CROWD} at once, prune --days {days:<3} {len(fetched)} wheels  {told}"
        return Verdict(row=row, wrong=failures)

    def _prune(self, days: int, over: threading.Event, complaints: list[str]) -> None:
        program = self._programs[0]
        argv = (sys.executable, "-m", "pypm", "cache", "prune", "--days", str(days))
        while not over.is_set():
            wrong = program.finish(program.launch(*argv, cache=self._cache))
            if wrong:
                complaints.append(f"prune: {wrong}")


def _without(pyproject: str, number: int) -> str:
    """Return the project without one of its dependencies."""
    begin = pyproject.index("dependencies = [")
    end = pyproject.index("]", begin)
    listed = _DEPENDENCY.findall(pyproject[begin:end])
    kept = [name for place, name in enumerate(listed) if place != number % len(listed)]
    return f"{pyproject[:begin]}dependencies = [{', '.join(kept)}{pyproject[end:]}"

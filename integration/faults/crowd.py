"""Many syncs of overlapping projects at once on one cold cache, with `prune` and `clean` beside them."""

from __future__ import annotations

import re
import subprocess
import threading
from collections import Counter
from collections.abc import Callable

from integration.faults.arena import Program, finish, prepare, require
from integration.faults.snapshot import Snapshot, difference, snapshot, trees, unfinished
from integration.faults.table import Row
from pypm.files import remove_tree
from tests.support.index_server import Archive, IndexServer

CROWD = 16
_DEPENDENCY = re.compile(r'"[^"]+"')


class Crowd:
    """Several copies of the project that each leave out another dependency, on one cache."""

    def __init__(
        self,
        program: Program,
        pyproject: str,
        archives: list[Archive],
        server: IndexServer,
        *,
        size: int = CROWD,
    ) -> None:
        self._server = server
        self._name = program.name
        self._is_ours = program.name == "pypm"
        self._cache = program.home / "shared-cache"
        self._untouched = program.home / "untouched-cache"
        self._programs = [program.at(program.home / str(number)) for number in range(size)]
        for number, one in enumerate(self._programs):
            prepare(one, _without(pyproject, number), archives)
        self._clean: list[Snapshot] = []

    def row(self, fault: str, *beside: tuple[str, ...], times: int = 1, fetched_once: bool = True) -> Row:
        """Sync all at once, with commands `beside` that are started again and again; compare what came out.

        Each environment is compared with the one that was made alone, on another cache. With `fetched_once`,
        no wheel may be downloaded twice.
        """
        self._make_clean()
        wrong: list[str] = []
        most = 0
        for _ in range(times):
            found, fetched = self._once(beside, fetched_once=fetched_once)
            most = max(most, *fetched.values())
            if found:
                wrong.append("; ".join(found))
        note = f"each wheel fetched {'once' if most == 1 else f'up to {most} times'}" if fetched_once else ""
        return Row(
            fault=f"{len(self._programs)} syncs at once{fault}",
            program=self._name,
            trials=times,
            wrong=tuple(wrong),
            note=note,
        )

    def bytecode_row(self, *, times: int, expired: Callable[[], bool]) -> Row:
        """Fill a cold cache by several syncs at once, again and again: the trees must be the same bytes."""
        self._make_clean()
        clean = trees(self._untouched)
        wrong: list[str] = []
        done = 0
        for _ in range(times):
            if done and expired():
                break
            done += 1
            remove_tree(self._cache)
            for one in self._programs:
                remove_tree(one.venv)
            ends = self._all_at_once()
            wrong += [told for told in (*ends, difference(trees(self._cache), clean)) if told]
        return Row(
            fault=f"bytecode of a cold cache filled by {len(self._programs)} syncs at once",
            program=self._name,
            trials=done,
            wrong=tuple(wrong),
        )

    def _make_clean(self) -> None:
        if not self._clean:
            for one in self._programs:
                require(finish(one.start(cache=self._untouched)))
                self._clean.append(snapshot(one.venv, bytecode=self._is_ours))

    def _all_at_once(self) -> list[str]:
        processes = [one.start(cache=self._cache) for one in self._programs]
        return [finish(process).wrong for process in processes]

    def _once(
        self, beside: tuple[tuple[str, ...], ...], *, fetched_once: bool
    ) -> tuple[list[str], Counter[str]]:
        remove_tree(self._cache)
        for one in self._programs:
            remove_tree(one.venv)
        asked = len(self._server.requests)
        over = threading.Event()
        wrong: list[str] = []
        others = [threading.Thread(target=self._repeat, args=(words, over, wrong)) for words in beside]
        for other in others:
            other.start()
        try:
            wrong += self._all_at_once()
        finally:
            over.set()
        for other in others:
            other.join()
        fetched = Counter(
            request.path
            for request in self._server.requests[asked:]
            if request.method == "GET" and request.path.endswith(".whl")
        )
        if fetched_once:
            wrong += [f"`{path}` was fetched {times} times" for path, times in fetched.items() if times > 1]
        for one, clean in zip(self._programs, self._clean, strict=True):
            wrong.append(difference(snapshot(one.venv, bytecode=self._is_ours), clean))
            if self._is_ours:
                wrong += [f"left behind: {name}" for name in unfinished(self._cache, one.project)]
        return [told for told in wrong if told], fetched

    def _repeat(self, words: tuple[str, ...], over: threading.Event, complaints: list[str]) -> None:
        while not over.is_set():
            told = self._programs[0].run(*words, cache=self._cache).wrong
            if told:
                complaints.append(f"{' '.join(words)}: {told}")


def waits(program: Program, server: IndexServer, slow: str) -> Row:
    """Let one sync wait for another, which is then killed: who waits says so, and goes on by itself."""
    remove_tree(program.cache)
    remove_tree(program.venv)
    asked = server.count(slow)
    holder = program.start()
    while server.count(slow) == asked:
        if holder.poll() is not None:
            return Row(fault=_WAITS, program=program.name, trials=1, wrong=("the holder ended at once",))
    second = program.launch(*program.sync, *program.extra)
    assert second.stderr is not None
    told = second.stderr.readline()
    holder.kill()
    holder.communicate()
    server.heal()
    try:
        rest = second.communicate(timeout=60)[1]
    except subprocess.TimeoutExpired:
        second.kill()
        second.communicate()
        rest = "a dead holder is not noticed"
    wrong = []
    if f"process {holder.pid} (" not in told:
        wrong.append(f"the holder is not named: {told}")
    if second.returncode != 0:
        wrong.append(rest)
    return Row(fault=_WAITS, program=program.name, trials=1, wrong=tuple(wrong))


_WAITS = "a sync that another one keeps waiting, which then dies"


def _without(pyproject: str, number: int) -> str:
    """Return the project without one of its dependencies."""
    begin = pyproject.index("dependencies = [")
    end = pyproject.index("]", begin)
    listed = _DEPENDENCY.findall(pyproject[begin:end])
    kept = [name for place, name in enumerate(listed) if place != number % len(listed)]
    return f"{pyproject[:begin]}dependencies = [{', '.join(kept)}{pyproject[end:]}"

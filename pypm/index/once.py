"""Results by request, each worked out once: by a pool that works ahead, or by who needs it first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

_Key = TypeVar("_Key")
_Result = TypeVar("_Result")


class Once(Generic[_Key, _Result]):
    """Results by request. Safe to share between threads.

    A begun request that no thread of the pool has taken up yet is taken up by the one who needs it now, so
    nobody waits behind guesses.
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._entries: dict[_Key, _Entry[_Result]] = {}
        self._needed: set[_Key] = set()

    def begin(self, key: _Key, work: Callable[[], _Result]) -> Future[_Result]:
        """Work out a result in the background unless that has begun; return where it will be."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = _Entry(work)
                self._pool.submit(entry.run)
        return entry.future

    def get(self, key: _Key, work: Callable[[], _Result]) -> _Result:
        """Return the result, or raise what working it out raised."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = _Entry(work)
            self._needed.add(key)
        entry.run()
        return entry.future.result()

    def done(self, key: _Key) -> _Result | None:
        """Return a result that is there already; None where it is not, or where there was none to be had."""
        with self._lock:
            entry = self._entries.get(key)
        if entry is None or not entry.future.done() or entry.future.cancelled():
            return None
        return None if entry.future.exception() is not None else entry.future.result()

    def counts(self) -> tuple[int, int]:
        """Return how many results were begun or asked for, and how many of them nobody asked for."""
        with self._lock:
            return len(self._entries), len(self._entries) - len(self._needed)


class _Entry(Generic[_Result]):
    def __init__(self, work: Callable[[], _Result]) -> None:
        self._work = work
        self._taken = threading.Lock()
        self.future: Future[_Result] = Future()

    def run(self) -> None:
        """Work it out, unless somebody does or did."""
        if not self._taken.acquire(blocking=False):
            return
        try:
            result = self._work()
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)

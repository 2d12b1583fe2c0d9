"""A small event loop: descriptors, timers and calls from other threads, in one thread, on epoll.

`asyncio` would do, at a cost in start-up and in every byte moved; the relay needs level-triggered readiness,
a buffer shared by all connections and nothing else.

Whatever a callback raises ends the thing it was serving and is reported; it never ends the loop.

Source: epoll(7), eventfd(2).
"""

from __future__ import annotations

import collections
import heapq
import itertools
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Protocol

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
ERROR = select.EPOLLERR
HANG_UP = select.EPOLLHUP

_PRUNE_AT = 256
"""Timers above which the cancelled ones are swept out: each connection sets some and cancels them soon."""


class Watched(Protocol):
    """Something that serves one or more descriptors."""

    def ready(self, descriptor: int, events: int) -> None:
        """Do what can be done without blocking; may be called without need."""

    def abort(self) -> None:
        """Let go of everything at once."""


class Timer:
    """A call that lies ahead; `cancel` it at any time."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Forget the call."""
        self._call = None

    @property
    def is_pending(self) -> bool:
        """Neither cancelled nor fired."""
        return self._call is not None

    def fire(self) -> None:
        """Make the call, once."""
        call, self._call = self._call, None
        if call is not None:
            call()


class Loop:
    """Runs in one thread; only `call_soon` may be used from others."""

    def __init__(self, on_fault: Callable[[Exception], None]) -> None:
        self._on_fault = on_fault
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, READ)
        self._watched: dict[int, tuple[Watched, int]] = {}
        self._forgotten: set[int] = set()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._calls: collections.deque[Callable[[], None]] = collections.deque()
        self._running = True
        self._prune_at = _PRUNE_AT
        self._open = True
        self._open_lock = threading.Lock()
        """Between a call from another thread and the closing of the descriptor that wakes this one."""

    def watch(self, descriptor: int, events: int, watched: Watched) -> None:
        """Tell `watched` when one of `events` holds for the descriptor, or change which ones it is told.

        Errors and hang-ups are told whatever `events` are.
        """
        known = self._watched.get(descriptor)
        if known is None:
            self._epoll.register(descriptor, events)
        elif known[1] != events:
            self._epoll.modify(descriptor, events)
        self._watched[descriptor] = (watched, events)

    def forget(self, descriptor: int) -> None:
        """Stop watching; call it before the descriptor is closed."""
        if self._watched.pop(descriptor, None) is not None:
            self._forgotten.add(descriptor)
            self._epoll.unregister(descriptor)

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Make a call when that much time has passed."""
        timer = Timer(call)
        if len(self._timers) >= self._prune_at:
            self._timers = [each for each in self._timers if each[2].is_pending]
            heapq.heapify(self._timers)
            self._prune_at = 2 * len(self._timers) + _PRUNE_AT
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have the loop's thread make a call; may be used from any thread, also after the loop has ended."""
        self._calls.append(call)
        with self._open_lock:
            if self._open:
                os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """Let `run` return after the present round."""
        self._running = False

    def run(self) -> None:
        """Serve until `stop`, then abort whatever is still watched and close."""
        try:
            while self._running:
                self._round()
        finally:
            self._running = False
            for watched in {id(each): each for each, _ in self._watched.values()}.values():
                self._guarded(watched.abort)
            self.close()

    def close(self) -> None:
        """Close the loop's own descriptors; `run` does it at its end."""
        with self._open_lock:
            if self._open:
                self._open = False
                self._epoll.close()
                os.close(self._wake)

    def _round(self) -> None:
        events_of_round = self._epoll.poll(self._patience())
        self._forgotten.clear()
        for descriptor, events in events_of_round:
            if descriptor == self._wake:
                os.eventfd_read(self._wake)
                continue
            # An earlier event of this round may have closed the descriptor, and its number may already belong
            # to another: the event is not that one's. Readiness is told again, so nothing is lost.
            known = self._watched.get(descriptor)
            if known is not None and descriptor not in self._forgotten:
                watched = known[0]
                try:
                    watched.ready(descriptor, events)
                except Exception as error:  # One connection's failure must not be everyone's.
                    self._on_fault(error)
                    self._guarded(watched.abort)
                    self._expel(watched)
        for _ in range(len(self._calls)):
            self._guarded(self._calls.popleft())
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            self._guarded(heapq.heappop(self._timers)[2].fire)

    def _patience(self) -> float:
        """Seconds until the next timer, -1 for ever."""
        if self._calls:
            return 0
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # Reported, and the loop goes on for the others.
            self._on_fault(error)

    def _expel(self, watched: Watched) -> None:
        """Forget what an aborted one still has registered, or the loop would spin on it."""
        for descriptor in [number for number, (each, _) in self._watched.items() if each is watched]:
            self.forget(descriptor)

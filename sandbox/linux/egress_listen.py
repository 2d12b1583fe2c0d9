"""The listeners that stand inside, and all connections that came in by them.

Source: accept(2), listen(2), getrlimit(2).
"""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterable

from sandbox.linux.egress_loop import READ
from sandbox.linux.egress_relay import Connection, Services, reset

_PAUSE_SECONDS = 0.1
"""How long nothing is accepted after the process ran out of descriptors."""
_DESCRIPTORS_A_CONNECTION = 2
_DESCRIPTORS_FOR_OTHERS = 512
"""Left to the listeners and the rest of the process."""


class Listeners:
    """Accepts up to a number of connections at once; the rest wait in the kernel's backlog."""

    def __init__(self, services: Services, sockets: Iterable[socket.socket], max_connections: int) -> None:
        self._services = services
        self._sockets = {each.fileno(): each for each in sockets}
        self._max_connections = affordable_connections(max_connections)
        self._connections: dict[Connection, None] = {}
        self._is_draining = False
        self._watch(READ)

    def ready(self, descriptor: int, events: int) -> None:
        """Accept one connection and begin to carry it; reset it where the policy does not allow it."""
        try:
            inner, _ = self._sockets[descriptor].accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:
            # No descriptor or memory left. Those who wait are served when others have ended.
            self._services.tally.saturated(len(self._connections))
            self._watch(0)
            self._services.loop.after(_PAUSE_SECONDS, self._resume)
            return
        inner.setblocking(False)
        address, port = inner.getsockname()[:2]
        host = self._services.directory.at(address, port)
        if host is None:
            reset(inner)
            return
        connection = Connection(self._services, inner, host, port, closed=self._closed)
        self._connections[connection] = None
        if len(self._connections) >= self._max_connections:
            self._services.tally.saturated(self._max_connections)
            self._watch(0)
        connection.start()

    def drain(self, seconds: float) -> None:
        """Take nobody new, let what was sent arrive, and end the loop when it has or the time is over."""
        for descriptor in tuple(self._sockets):
            self._accept_all(descriptor)
        self._is_draining = True
        self._close_sockets()
        self._services.loop.after(seconds, self._services.loop.stop)
        for connection in tuple(self._connections):
            connection.drain()
        self._stop_when_empty()

    def abort(self) -> None:
        """Close the listeners and reset every connection."""
        self._close_sockets()
        for connection in tuple(self._connections):
            connection.abort()

    def _accept_all(self, descriptor: int) -> None:
        """Take those who connected, sent and left before anybody looked."""
        before = -1
        while before < len(self._connections) < self._max_connections:
            before = len(self._connections)
            self.ready(descriptor, READ)

    def _closed(self, connection: Connection) -> None:
        was_full = len(self._connections) >= self._max_connections
        self._connections.pop(connection, None)
        if was_full:
            self._resume()
        self._stop_when_empty()

    def _resume(self) -> None:
        if len(self._connections) < self._max_connections:
            self._watch(READ)

    def _stop_when_empty(self) -> None:
        if self._is_draining and not self._connections:
            self._services.loop.stop()

    def _watch(self, events: int) -> None:
        for descriptor in self._sockets:
            self._services.loop.watch(descriptor, events, self)

    def _close_sockets(self) -> None:
        for descriptor, each in self._sockets.items():
            self._services.loop.forget(descriptor)
            each.close()
        self._sockets.clear()


def affordable_connections(wanted: int) -> int:
    """Raise the soft limit of open files as far as that many connections need and the hard limit lets.

    Returns how many connections the limit then allows, at least one. Source: getrlimit(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted * _DESCRIPTORS_A_CONNECTION + _DESCRIPTORS_FOR_OTHERS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (soft - _DESCRIPTORS_FOR_OTHERS) // _DESCRIPTORS_A_CONNECTION))

"""What went through the allow-list and what did not, counted while it runs.

Written by the serving thread, read by anyone: a lock stands between. Every table is bounded, because names
come from inside; what no longer fits is counted without its name.
"""

from __future__ import annotations

import threading
from typing import TypeVar

from sandbox.linux.egress_dns import AAAA, A, Question
from sandbox.traffic import Broken, HostTraffic, NetworkReport, RefusedName, RefusedServer, Unreachable

_Key = TypeVar("_Key")

MAX_ENTRIES = 256
"""Distinct names of one table; a payload that asks for random names must not grow the supervisor."""


class Tally:
    """The counts of one sandbox, as they grow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._traffic: dict[tuple[str, int], list[int]] = {}
        self._names: dict[str, dict[int, int]] = {}
        self._servers: dict[tuple[str, int, str | None], int] = {}
        self._unreachable: dict[tuple[str, int, str], int] = {}
        self._broken: dict[tuple[str, int, str], int] = {}
        self._faults: list[str] = []
        self._carried_at_most: int | None = None
        self._uncounted = 0

    def connected(self, host: str, port: int) -> None:
        """A connection was accepted inside."""
        with self._lock:
            # Not bounded by MAX_ENTRIES: these are allowed hosts, of which the directory bounds the number.
            self._traffic.setdefault((host, port), [0, 0, 0])[0] += 1

    def moved(self, host: str, port: int, *, sent_bytes: int = 0, received_bytes: int = 0) -> None:
        """Bytes arrived on the other side."""
        with self._lock:
            counts = self._traffic.setdefault((host, port), [0, 0, 0])
            counts[1] += sent_bytes
            counts[2] += received_bytes

    def refused_name(self, question: Question) -> None:
        """A name was looked up that is not allowed."""
        if question.name.endswith((".in-addr.arpa", ".ip6.arpa")) or not question.name:
            return  # Programs that log ask for the name of an address; nobody allows such a name.
        with self._lock:
            if question.name not in self._names and len(self._names) >= MAX_ENTRIES:
                self._uncounted += 1
                return
            kinds = self._names.setdefault(question.name, {})
            kind = question.kind if question.kind in (A, AAAA) else 0
            kinds[kind] = kinds.get(kind, 0) + 1

    def refused_server(self, host: str, port: int, server_name: str | None) -> None:
        """A ClientHello asked for a name that is not allowed, or could not be read."""
        self._count(self._servers, (host, port, server_name))

    def unreachable(self, host: str, port: int, reason: str) -> None:
        """An allowed host was not reached."""
        self._count(self._unreachable, (host, port, reason))

    def broken(self, host: str, port: int, reason: str) -> None:
        """A connection ended with a reset or an error."""
        self._count(self._broken, (host, port, reason))

    def saturated(self, connections: int) -> None:
        """As many connections as can be carried are; others wait."""
        with self._lock:
            self._carried_at_most = connections

    def fault(self, text: str) -> None:
        """The relay itself failed."""
        with self._lock:
            if len(self._faults) < MAX_ENTRIES:
                self._faults.append(text)

    def report(self) -> NetworkReport:
        """The counts as they are now."""
        with self._lock:
            return NetworkReport(
                traffic=tuple(
                    HostTraffic(
                        host=host, port=port, connections=each[0], sent_bytes=each[1], received_bytes=each[2]
                    )
                    for (host, port), each in self._traffic.items()
                ),
                refused_names=tuple(
                    # One look-up asks for A and AAAA together: the larger count is that of the look-ups.
                    RefusedName(name=name, count=max(kinds.values()))
                    for name, kinds in self._names.items()
                ),
                refused_servers=tuple(
                    RefusedServer(host=host, port=port, server_name=name, count=count)
                    for (host, port, name), count in self._servers.items()
                ),
                unreachable=tuple(
                    Unreachable(host=host, port=port, reason=reason, count=count)
                    for (host, port, reason), count in self._unreachable.items()
                ),
                broken=tuple(
                    Broken(host=host, port=port, reason=reason, count=count)
                    for (host, port, reason), count in self._broken.items()
                ),
                carried_at_most=self._carried_at_most,
                uncounted=self._uncounted,
                faults=tuple(self._faults),
            )

    def _count(self, table: dict[_Key, int], key: _Key) -> None:
        with self._lock:
            if key not in table and len(table) >= MAX_ENTRIES:
                self._uncounted += 1
            else:
                table[key] = table.get(key, 0) + 1

"""What went through the allow-list and what did not, counted while it runs.

Written by the serving thread, read by anyone: a lock stands between. Every table is bounded, because names
come from inside; what no longer fits is counted without its name.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TypeVar

from sandbox.linux.egress_dns import AAAA, A, Question

_Key = TypeVar("_Key")

MAX_ENTRIES = 256
"""Distinct names of one table; a payload that asks for random names must not grow the supervisor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTraffic:
    """One allowed host and port that was used."""

    host: str
    port: int
    connections: int
    """Accepted inside, whether or not the host outside could be reached."""
    sent_bytes: int
    """From inside to the host."""
    received_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedName:
    """A name that was looked up and is not on the list; safe to print."""

    name: str
    count: int
    """Look-ups; asking for both address families at once is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedServer:
    """A TLS server name, asked for at an allowed host, that is not on the list; safe to print."""

    host: str
    port: int
    server_name: str | None
    """None for a ClientHello that could not be read."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """An allowed host that could not be dialled from outside, or may not be at the address it has."""

    host: str
    port: int
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """Connections that ended with a reset or an error, on either side; ordinary, so no line is made of it."""

    host: str
    port: int
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressReport:
    """Everything that was counted; each table in the order of first sight."""

    traffic: tuple[HostTraffic, ...] = ()
    refused_names: tuple[RefusedName, ...] = ()
    refused_servers: tuple[RefusedServer, ...] = ()
    unreachable: tuple[Unreachable, ...] = ()
    broken: tuple[Broken, ...] = ()
    carried_at_most: int | None = None
    """How many connections at once were carried, if that many were and others had to wait."""
    uncounted: int = 0
    """Refusals beyond what the tables hold."""
    faults: tuple[str, ...] = ()
    """Failures of the relay itself, each of which closed the connection that it befell."""

    def lines(self, option: str = "--allow-net") -> tuple[str, ...]:
        """One sentence for each refusal, with the option that would allow it."""
        names = (
            f"network: `{each.name}` refused {_times(each.count)}; allow it with {option} {each.name}"
            for each in self.refused_names
        )
        servers = (
            f"network: TLS server name `{each.server_name}` at `{each.host}:{each.port}` refused "
            f"{_times(each.count)}; allow it with {option} {each.server_name}:{each.port}"
            if each.server_name is not None
            else f"network: unreadable TLS to `{each.host}:{each.port}` refused {_times(each.count)}"
            for each in self.refused_servers
        )
        hosts = (
            f"network: `{each.host}:{each.port}` could not be reached {_times(each.count)}: {each.reason}"
            for each in self.unreachable
        )
        waited = (
            (f"network: connections had to wait: {self.carried_at_most} at once are carried",)
            if self.carried_at_most is not None
            else ()
        )
        rest = (f"network: {self.uncounted} more refusals",) if self.uncounted else ()
        faults = (f"network: relay fault: {fault}" for fault in self.faults)
        return (*names, *servers, *hosts, *waited, *rest, *faults)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


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

    def report(self) -> EgressReport:
        """The counts as they are now."""
        with self._lock:
            return EgressReport(
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

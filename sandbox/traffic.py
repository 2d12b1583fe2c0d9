"""What went through a network allow-list and what did not, as data for whoever ran the sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


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
class NetworkReport:
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

    def to_plain(self) -> dict[str, Any]:
        """As plain data, for JSON and for `from_plain`."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> NetworkReport:
        """The inverse of `to_plain`."""
        values: dict[str, Any] = dict(plain)
        for key, kind in _TABLES.items():
            values[key] = tuple(kind(**row) for row in values[key])
        return cls(**{**values, "faults": tuple(values["faults"])})


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


_TABLES: dict[str, type] = {
    "traffic": HostTraffic,
    "refused_names": RefusedName,
    "refused_servers": RefusedServer,
    "unreachable": Unreachable,
    "broken": Broken,
}
"""Which fields of a report are tables, and of what."""

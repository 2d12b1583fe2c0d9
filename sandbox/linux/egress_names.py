"""The allow-list as data: which names and ports, and which addresses stand for them inside.

Every allowed name has an address of its own out of a range that is reserved for tests between networks
(198.18.0.0/15, RFC 2544) and, for IPv6, the same number behind a prefix reserved for local translation
(64:ff9b:1::/48, RFC 8215). Neither is ever routed on the internet, so an address can only mean that name.
An allowed address literal stands for itself. Pure; no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from sandbox.errors import PolicyError
from sandbox.linux.egress_namespace import DESCRIPTORS_PER_MESSAGE, RESOLVER_PORT

IPV4_RANGE = IPv4Network("198.18.0.0/15")
"""RFC 2544: benchmarking between networks; never on the internet."""
IPV6_RANGE = IPv6Network("64:ff9b:1::/96")
"""The first /96 of RFC 8215's local-use translation prefix: its last 32 bits are the IPv4 address."""
OWN_IPV4 = IPV4_RANGE[1]
"""The interface's own address: resolvers that honour `AI_ADDRCONFIG` want one that is not loopback."""
OWN_IPV6 = IPV6_RANGE[int(OWN_IPV4)]

MAX_NAMES = 4096
"""Exact names of one policy, and names that its wildcards may take at run time: each is an address."""
MAX_ENDPOINTS = DESCRIPTORS_PER_MESSAGE - 13
"""Above this, one listener a port on every address replaces one a host and port."""

_FIRST_EXACT = 0x0100  # 198.18.1.0
_FIRST_WILDCARD = 0x10000  # 198.19.0.0
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - inside the sandbox's own network namespace
_LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Something that may be reached from inside."""

    name: str
    """Lower case, A-labels, no final dot; or an address literal in its shortest form."""
    ports: frozenset[int]
    ipv4: IPv4Address | None
    """Where it is reached inside; None for an IPv6 literal."""
    ipv6: IPv6Address | None
    fixed: tuple[IPv4Address | IPv6Address, ...] = ()
    """The addresses to dial without asking a resolver: those of a literal and of `localhost`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wildcard:
    """`*.example.com`: every name below, but not `example.com` itself."""

    suffix: str
    """With its leading dot: `.example.com`."""
    ports: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowList:
    """The whole policy, with every exact name's address decided."""

    hosts: tuple[Host, ...]
    """Sorted by name."""
    wildcards: tuple[Wildcard, ...]
    endpoints: tuple[tuple[str, int], ...]
    """Address and port of every listener that has to be made inside."""

    @property
    def literals(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """The literals that need a route of their own inside: all but loopback."""
        return tuple(address for host in self.hosts for address in host.fixed if not address.is_loopback)


def allow_list(rules: Iterable[tuple[str, int]]) -> AllowList:
    """Give every allowed name its address and find the listeners that serve them.

    `rules` are host and port; a host is a name, `*.` before a name, an IPv4 or IPv6 literal, or `localhost`
    for services of the machine outside.

    Raises: PolicyError naming every host or port that cannot be meant.
    """
    ports: dict[str, set[int]] = {}
    problems: list[str] = []
    for text, port in rules:
        name = canonical_host(text)
        if name is None:
            problems.append(f"`{text}` is neither a host name nor an address that can be reached")
        elif not 0 < port < 65536:
            problems.append(f"`{text}:{port}`: a port lies between 1 and 65535")
        elif port == RESOLVER_PORT and (name.startswith("*.") or name in ("localhost", *_LOOPBACK)):
            problems.append(f"`{text}:{port}`: the sandbox's own resolver stands there")
        else:
            ports.setdefault(name, set()).add(port)
    if len(ports) > MAX_NAMES:
        problems.append(f"{len(ports)} hosts are more than {MAX_NAMES}")
    if problems:
        raise PolicyError("the network allow-list cannot be meant", details=tuple(problems))
    wildcards = tuple(
        Wildcard(suffix=name[1:], ports=frozenset(ports[name])) for name in sorted(ports) if name[0] == "*"
    )
    exact = sorted(name for name in ports if name[0] != "*")
    hosts = tuple(
        _host(name, ports[name] | _ports_below(wildcards, name), index) for index, name in enumerate(exact)
    )
    return AllowList(hosts=hosts, wildcards=wildcards, endpoints=_endpoints(hosts, wildcards))


def canonical_host(text: str) -> str | None:
    """Write a host the one way it is compared: lower case, A-labels, no final dot, shortest literal.

    Returns None for what cannot name a host.
    """
    try:
        address = ip_address(text.strip("[]"))
    except ValueError:
        return _canonical_name(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_multicast or address.is_unspecified or getattr(address, "scope_id", None):
        return None
    if isinstance(address, IPv4Address):
        # "This network" (0/8) and the reserved class E can be bound and dialled by nobody.
        is_usable = address not in IPV4_RANGE and 0 < int(address) >> 24 < 240
    else:
        is_usable = address not in IPV6_RANGE and not address.is_link_local
    return str(address) if is_usable else None


def _canonical_name(text: str) -> str | None:
    star, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    name = name.removesuffix(".").lower()
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        return None
    if star and len(labels) < 2:
        return None
    return star + name


def _ports_below(wildcards: Iterable[Wildcard], name: str) -> frozenset[int]:
    """The ports that wildcards allow for a name."""
    matching = (wildcard.ports for wildcard in wildcards if name.endswith(wildcard.suffix))
    return frozenset[int]().union(*matching)


def _host(name: str, ports: set[int] | frozenset[int], index: int) -> Host:
    try:
        literal = ip_address(name)
    except ValueError:
        pass
    else:
        return Host(
            name=name,
            ports=frozenset(ports),
            ipv4=literal if isinstance(literal, IPv4Address) else None,
            ipv6=literal if isinstance(literal, IPv6Address) else None,
            fixed=(literal,),
        )
    if name == "localhost":
        ipv4, ipv6 = IPv4Address(_LOOPBACK[0]), IPv6Address(_LOOPBACK[1])
        return Host(name=name, ports=frozenset(ports), ipv4=ipv4, ipv6=ipv6, fixed=(ipv4, ipv6))
    return numbered(name, frozenset(ports), _FIRST_EXACT + index)


def numbered(name: str, ports: frozenset[int], number: int) -> Host:
    """Make the host that has the `number`-th address of the range."""
    ipv4 = IPV4_RANGE[number]
    return Host(name=name, ports=ports, ipv4=ipv4, ipv6=IPV6_RANGE[int(ipv4)])


def _endpoints(hosts: tuple[Host, ...], wildcards: tuple[Wildcard, ...]) -> tuple[tuple[str, int], ...]:
    """One listener a host and port, so that the kernel itself refuses every other port of a host.

    Names that come up at run time cannot have one, so the ports of wildcards are served on every address.
    """
    everywhere = {port for wildcard in wildcards for port in wildcard.ports}
    exact = [
        (str(address), port)
        for host in hosts
        for port in sorted(host.ports - everywhere)
        for address in (host.ipv4, host.ipv6)
        if address is not None
    ]
    if len(exact) + 2 * len(everywhere) > MAX_ENDPOINTS:
        everywhere |= {port for host in hosts for port in host.ports}
        exact = []
    if RESOLVER_PORT in everywhere or 2 * len(everywhere) > MAX_ENDPOINTS:
        raise PolicyError("the network allow-list has more hosts and ports than the sandbox can listen on")
    shared = [(address, port) for port in sorted(everywhere) for address in _EVERYWHERE]
    return tuple(dict.fromkeys(exact + shared))


class Directory:
    """Who is meant by a name and by an address inside; wildcard names get theirs on first sight.

    Used by one thread only.
    """

    def __init__(self, allowed: AllowList) -> None:
        self._wildcards = allowed.wildcards
        self._by_name = {host.name: host for host in allowed.hosts}
        self._by_address: dict[IPv4Address | IPv6Address, Host] = {}
        self._taken = 0
        for host in allowed.hosts:
            self._enter(host)

    def find(self, name: str) -> Host | None:
        """Return the host of a canonical name, or None where the policy does not allow it."""
        host = self._by_name.get(name)
        if host is not None:
            return host
        ports = _ports_below(self._wildcards, name)
        if not ports or self._taken >= MAX_NAMES or _canonical_name(name) != name:
            return None
        host = numbered(name, ports, _FIRST_WILDCARD + self._taken)
        self._taken += 1
        self._by_name[name] = host
        self._enter(host)
        return host

    def at(self, address: str, port: int) -> Host | None:
        """Return the host that stands at an address inside, if the policy allows that port of it."""
        host = self._by_address.get(ip_address(address))
        return host if host is not None and port in host.ports else None

    def allows(self, name: str, port: int) -> bool:
        """Tell whether a canonical name may be reached on a port."""
        host = self.find(name)
        return host is not None and port in host.ports

    def _enter(self, host: Host) -> None:
        for address in (host.ipv4, host.ipv6):
            if address is not None:
                # `localhost` and `127.0.0.1` may both be listed: either rule's ports count.
                known = self._by_address.get(address)
                ports = host.ports | known.ports if known else host.ports
                self._by_address[address] = Host(
                    name=host.name, ports=ports, ipv4=host.ipv4, ipv6=host.ipv6, fixed=host.fixed
                )

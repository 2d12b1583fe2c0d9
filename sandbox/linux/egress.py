"""Allow-listed hosts for a sandbox without a network: sockets made inside, served from here.

    allowed = allow_list((("api.example.com", 443),))      policy as data; PolicyError
    plan = namespace_plan(allowed)                         what the setup child needs, plain data
    ... in the setup child: sockets = prepare_namespace(plan.required, plan.optional, plan.endpoints)
    ...                     send_sockets(channel, sockets)
    egress = Egress(allowed)
    egress.serve(receive_sockets(channel, allowed))        one thread from here on
    ... the payload runs and ends ...
    report = egress.close()

No variable of a proxy, no address translation and no process inside: `docs/egress.md` tells how it works and
what it guarantees. This is the only module that uses pyroute2, and only to write netlink messages.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from sandbox.errors import PolicyError, SetupError
from sandbox.linux.egress_dial import Lookups, Resolve, system_resolve
from sandbox.linux.egress_listen import Listeners
from sandbox.linux.egress_loop import Loop
from sandbox.linux.egress_names import (
    IPV4_RANGE,
    IPV6_RANGE,
    OWN_IPV4,
    OWN_IPV6,
    AllowList,
    Directory,
    allow_list,
)
from sandbox.linux.egress_namespace import DESCRIPTORS_PER_MESSAGE, RESOLVER_ADDRESS, RESOLVER_PORT
from sandbox.linux.egress_reach import Reach
from sandbox.linux.egress_relay import Services
from sandbox.linux.egress_report import Tally
from sandbox.linux.egress_resolver import Datagrams, Streams, lookup_in
from sandbox.traffic import NetworkReport

__all__ = [
    "AllowList",
    "Egress",
    "EgressSettings",
    "NamespacePlan",
    "allow_list",
    "namespace_plan",
    "receive_sockets",
]

_LOOPBACK_INDEX = 1  # LOOPBACK_IFINDEX in include/net/flow.h: the same in every network namespace
_IFF_UP = 0x1  # include/uapi/linux/if.h
_IFA_F_NODAD = 0x02  # include/uapi/linux/if_addr.h
_RTN_LOCAL = 2  # include/uapi/linux/rtnetlink.h
_RT_TABLE_LOCAL = 255
_RTPROT_STATIC = 4
_RT_SCOPE_HOST = 254
_RTM_NEWLINK, _RTM_NEWADDR, _RTM_NEWROUTE = 16, 20, 24
_REQUEST_ACK = 0x1 | 0x4  # NLM_F_REQUEST, NLM_F_ACK
_CREATE = 0x400


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespacePlan:
    """What `prepare_namespace` is called with: plain data, the same on every host, so it may be kept."""

    required: tuple[bytes, ...]
    """Encoded rtnetlink requests: loopback up, IPv4 range and literals."""
    optional: tuple[bytes, ...]
    """The same for IPv6."""
    endpoints: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressSettings:
    """How the outside is reached."""

    resolve: Resolve = system_resolve
    """Asked for allowed names only."""
    networks: tuple[str, ...] = ()
    """Private networks, in CIDR form, that allowed names may point into."""
    connect_timeout_seconds: float = 30.0
    max_connections: int = 2048
    """At once; more wait in the listeners' backlogs. Capped by what the process may open."""


def namespace_plan(allowed: AllowList) -> NamespacePlan:
    """Encode what the new network namespace needs: loopback up, and routes that make the addresses its own.

    Costs the import of pyroute2's message classes, about 35 ms, once a process.
    """
    link, address, route = _message_classes()
    up = _encode(link(), _RTM_NEWLINK, 0, {"index": _LOOPBACK_INDEX, "flags": _IFF_UP, "change": _IFF_UP}, [])

    def assign(own: IPv4Address | IPv6Address) -> bytes:
        fields = {
            "family": _family(own),
            "prefixlen": own.max_prefixlen,
            "flags": _IFA_F_NODAD,
            "index": _LOOPBACK_INDEX,
        }
        return _encode(
            address(), _RTM_NEWADDR, _CREATE, fields, [("IFA_LOCAL", str(own)), ("IFA_ADDRESS", str(own))]
        )

    def reach(first: IPv4Address | IPv6Address, prefix_length: int) -> bytes:
        fields = {
            "family": _family(first),
            "dst_len": prefix_length,
            "table": _RT_TABLE_LOCAL,
            "proto": _RTPROT_STATIC,
            "scope": _RT_SCOPE_HOST,
            "type": _RTN_LOCAL,
        }
        attributes = [("RTA_DST", str(first)), ("RTA_OIF", _LOOPBACK_INDEX)]
        return _encode(route(), _RTM_NEWROUTE, _CREATE, fields, attributes)

    def messages(version: int) -> list[bytes]:
        literals = (each for each in allowed.literals if each.version == version)
        return [reach(each, each.max_prefixlen) for each in literals]

    return NamespacePlan(
        required=(
            up,
            assign(OWN_IPV4),
            reach(IPV4_RANGE.network_address, IPV4_RANGE.prefixlen),
            *messages(4),
        ),
        optional=(assign(OWN_IPV6), reach(IPV6_RANGE.network_address, IPV6_RANGE.prefixlen), *messages(6)),
        endpoints=allowed.endpoints,
    )


def receive_sockets(channel: socket.socket, allowed: AllowList) -> tuple[socket.socket, ...]:
    """Take the sockets that the setup child made, and check that they are those of the allow-list.

    Blocks until they come; set a timeout on the channel, or close its other end when the child is gone.

    Raises: SetupError when the child ended without them or they are not what was asked for.
    """
    try:
        # Close-on-exec from the first moment: other threads may start programs.
        count, numbers, flags, _ = socket.recv_fds(
            channel, 2, DESCRIPTORS_PER_MESSAGE, socket.MSG_CMSG_CLOEXEC
        )
    except OSError as error:
        raise SetupError(
            "the sandbox's sockets did not come", stage="egress", errno=error.errno or 0
        ) from error
    received = tuple(socket.socket(fileno=number) for number in numbers)
    for each in received:
        each.setblocking(False)
    found = {(each.type, *each.getsockname()[:2]) for each in received}
    own = {(kind, RESOLVER_ADDRESS, RESOLVER_PORT) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)}
    wanted = own | {(socket.SOCK_STREAM, address, port) for address, port in allowed.endpoints}
    without_ipv6 = {each for each in wanted if ":" not in each[1]}
    is_whole = int.from_bytes(count, "big") == len(received) == len(found) and not flags & socket.MSG_CTRUNC
    if not is_whole or found not in (wanted, without_ipv6):
        for each in received:
            each.close()
        raise SetupError("the sandbox's sockets are not those of the allow-list", stage="egress")
    return received


class Egress:
    """Serves the sockets of one sandbox from one thread, and a few more while names are looked up."""

    def __init__(self, allowed: AllowList, settings: EgressSettings | None = None) -> None:
        """Raises: PolicyError for a network that is not one."""
        self._allowed = allowed
        self._settings = settings or EgressSettings()
        literals = (
            (address, port)
            for host in allowed.hosts
            if host.name != "localhost"
            for address in host.fixed
            for port in host.ports
        )
        try:
            self._reach = Reach(addresses=literals, networks=self._settings.networks)
        except ValueError as error:
            raise PolicyError(f"a network of the allow-list cannot be read: {error}") from error
        self._tally = Tally()
        self._loop: Loop | None = None
        self._listeners: Listeners | None = None
        self._thread: threading.Thread | None = None

    def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Begin to serve what `receive_sockets` returned; they belong to the egress from here on.

        Starts a thread, and raises the process's soft limit of open files where it is low.

        Raises: SetupError.
        """
        loop: Loop | None = None
        try:
            loop = Loop(lambda error: self._tally.fault(f"{type(error).__name__}: {error}"))
            services = self._services(loop)
            self._listeners = _attach(services, sockets, self._settings.max_connections)
            thread = threading.Thread(target=_run, args=(loop, services), name="egress", daemon=True)
            thread.start()
        except (OSError, RuntimeError) as error:
            for each in sockets:
                each.close()
            if loop is not None:
                loop.close()
            raise SetupError(
                f"the network allow-list cannot be served: {error}",
                stage="egress",
                errno=getattr(error, "errno", None) or 0,
            ) from error
        self._loop, self._thread = loop, thread

    def report(self) -> NetworkReport:
        """What was counted so far; may be called from any thread, at any time."""
        return self._tally.report()

    def close(self, *, drain_seconds: float = 2.0) -> NetworkReport:
        """End, once the payload has: deliver what it had sent, for a while, then close everything.

        A second call returns the same counts.
        """
        if self._thread is not None and self._loop is not None and self._listeners is not None:
            listeners = self._listeners
            self._loop.call_soon(lambda: listeners.drain(drain_seconds))
            self._thread.join()
            self._thread = None
        return self.report()

    def _services(self, loop: Loop) -> Services:
        return Services(
            loop=loop,
            directory=Directory(self._allowed),
            lookups=Lookups(loop, self._settings.resolve),
            reach=self._reach,
            tally=self._tally,
            connect_timeout_seconds=self._settings.connect_timeout_seconds,
        )


def _attach(services: Services, sockets: Sequence[socket.socket], max_connections: int) -> Listeners:
    """Put every socket on the loop with what serves it."""
    has_ipv6 = any(each.family == socket.AF_INET6 for each in sockets)
    lookup = lookup_in(services.directory, services.tally, has_ipv6=has_ipv6)
    listeners = []
    for each in sockets:
        if each.type == socket.SOCK_DGRAM:
            Datagrams(services.loop, each, lookup)
        elif each.getsockname()[:2] == (RESOLVER_ADDRESS, RESOLVER_PORT):
            Streams(services.loop, each, lookup)
        else:
            listeners.append(each)
    return Listeners(services, listeners, max_connections)


def _run(loop: Loop, services: Services) -> None:
    try:
        loop.run()
    finally:
        services.lookups.close()


def _family(address: IPv4Address | IPv6Address) -> int:
    return int(socket.AF_INET if address.version == 4 else socket.AF_INET6)


def _encode(
    message: Any, kind: int, flags: int, fields: dict[str, int], attributes: list[tuple[str, Any]]
) -> bytes:
    """Have pyroute2 write one request that asks for an acknowledgement."""
    message["header"]["type"] = kind
    message["header"]["flags"] = _REQUEST_ACK | flags
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = attributes
    message.encode()
    return bytes(message.data)


def _message_classes() -> tuple[Any, Any, Any]:
    """Import pyroute2's three message classes and not the rest of it.

    The package's own `__init__` imports everything it has, 240 ms; the classes alone cost 35 ms. So an empty
    package stands in for it while they are imported, and is gone from `sys.modules` afterwards.
    """
    stand_in = None
    if "pyroute2" not in sys.modules:
        spec = find_spec("pyroute2")
        if spec is None:
            raise SetupError("the network allow-list needs the package `pyroute2`", stage="egress")
        stand_in = sys.modules["pyroute2"] = module_from_spec(spec)
    try:
        from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
        from pyroute2.netlink.rtnl.rtmsg import rtmsg
    finally:
        if stand_in is not None and sys.modules.get("pyroute2") is stand_in:
            del sys.modules["pyroute2"]
    return ifinfmsg, ifaddrmsg, rtmsg

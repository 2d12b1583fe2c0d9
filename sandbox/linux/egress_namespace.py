"""The inside part of the allow-list: routes and sockets that are made in the new network namespace.

A socket belongs for ever to the namespace it was created in, whoever holds it. The setup child makes the
listeners and the resolver's sockets here, hands them to the supervisor and forgets them; the payload finds
them answering, and nothing runs inside for it.

The child is single-threaded, holds secrets of the set-up and has a root about to be swapped, so this module
imports the bare minimum: `_socket` without the enumerations of `socket`, and no netlink library. The messages
arrive encoded (`egress.namespace_plan`); here they are only sent and their answers read.

Source: netlink(7), rtnetlink(7), unix(7) for `SCM_RIGHTS`, ip(7) for `IP_FREEBIND`.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct

RESOLVER_ADDRESS = "127.0.0.1"
RESOLVER_PORT = 53

BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`."""

SERVED = b"s"
"""What the supervisor answers when the sockets are served."""

DESCRIPTORS_PER_MESSAGE = 253
"""`SCM_MAX_FD` in include/net/scm.h: what one message can carry."""

_IP_FREEBIND = 15  # include/uapi/linux/in.h; IPv6 has no other way to bind an address that only a route names
_NETLINK_ROUTE = 0  # include/uapi/linux/netlink.h
_NLMSG_ERROR = 2  # include/uapi/linux/netlink.h; an error of 0 is the acknowledgement
_ALREADY_DONE = (0, -errno.EEXIST)

_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


def prepare_namespace(
    required: tuple[bytes, ...], optional: tuple[bytes, ...], endpoints: tuple[tuple[str, int], ...]
) -> list[_socket.socket]:
    """Give the current network namespace its routes and make every socket that is served from outside.

    `required` are the rtnetlink requests without which nothing works (loopback up, IPv4); `optional` those
    for IPv6, which a kernel may lack: then its endpoints are left out and the resolver answers without it.
    Returns the resolver's UDP socket, its TCP listener, then a listener for each endpoint that could be made.

    Call it after `unshare(CLONE_NEWNET)` and before capabilities are dropped: routes need `CAP_NET_ADMIN`
    and ports below 1024 `CAP_NET_BIND_SERVICE` over the namespace.

    Raises: OSError, with what was attempted in `filename`.
    """
    channel = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
    try:
        for message in required:
            failure = _request(channel, message)
            if failure:
                raise OSError(failure, os.strerror(failure), "rtnetlink request")
        has_ipv6 = not any(_request(channel, message) for message in optional)
    finally:
        channel.close()
    sockets = [
        _bound(_socket.SOCK_DGRAM, RESOLVER_ADDRESS, RESOLVER_PORT),
        _bound(_socket.SOCK_STREAM, RESOLVER_ADDRESS, RESOLVER_PORT),
    ]
    for address, port in endpoints:
        if ":" not in address:
            sockets.append(_bound(_socket.SOCK_STREAM, address, port))
        elif has_ipv6:
            try:
                sockets.append(_bound(_socket.SOCK_STREAM, address, port))
            except OSError as error:
                if error.errno not in _NO_IPV6:
                    raise
    return sockets


def send_sockets(channel: _socket.socket, sockets: list[_socket.socket]) -> None:
    """Hand the sockets to the supervisor in one message and close them here.

    Closing matters: the setup child becomes the payload's ancestor, and a listener that it still held could
    be inherited and accepted from inside.

    Raises: OSError.
    """
    if len(sockets) > DESCRIPTORS_PER_MESSAGE:
        raise OSError(errno.E2BIG, "more sockets than one message can carry", "SCM_RIGHTS")
    numbers = struct.pack(f"{len(sockets)}i", *(each.fileno() for each in sockets))
    count = struct.pack("!H", len(sockets))
    channel.sendmsg([count], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)])
    for each in sockets:
        each.close()


def _request(channel: _socket.socket, message: bytes) -> int:
    """Send one rtnetlink request and return the errno of its answer, 0 for success."""
    channel.send(message)
    reply = channel.recv(65536)
    kind = struct.unpack_from("=H", reply, 4)[0]
    if kind != _NLMSG_ERROR:
        return errno.EPROTO
    outcome: int = struct.unpack_from("=i", reply, 16)[0]
    return 0 if outcome in _ALREADY_DONE else -outcome


def _bound(kind: int, address: str, port: int) -> _socket.socket:
    """Make a bound, for streams listening, non-blocking socket that nobody can share the port with."""
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    made = _socket.socket(family, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK, 0)
    try:
        if family == _socket.AF_INET6:
            made.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        made.setsockopt(_socket.IPPROTO_IP, _IP_FREEBIND, 1)
        made.bind((address, port))
        if kind == _socket.SOCK_STREAM:
            made.listen(BACKLOG)
    except OSError as error:
        made.close()
        error.filename = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        raise
    return made

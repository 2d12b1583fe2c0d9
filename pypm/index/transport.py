"""Connections that look a host up once, and never end on this machine because a stranger said so.

Twenty connections to one host make twenty look-ups of its name in the same moment; small resolvers drop
some, and each dropped one stalls its connection for five seconds (resolv.conf(5), `timeout`). Here one
look-up serves all.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore
import httpx


class Resolver:
    """Remembers the addresses of hosts for the life of a client, which is one command."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._addresses: dict[tuple[str, int], tuple[str, ...]] = {}

    def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """Return the host's addresses in the system's order of preference.

        Raises:
            OSError: the name cannot be resolved. Not remembered: a network may come back.
        """
        with self._lock:
            known = self._addresses.get((host, port))
            if known is None:
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                known = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
                self._addresses[host, port] = known
        return known


class _Backend(httpcore.SyncBackend):
    """Connects to the remembered addresses, one after the other."""

    def __init__(self, resolver: Resolver) -> None:
        super().__init__()
        self._resolver = resolver

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = self._resolver.addresses(host, port)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        for address in addresses[:-1]:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return super().connect_tcp(addresses[-1], port, timeout, local_address, socket_options)


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._stream.close()


class DirectTransport(httpx.BaseTransport):
    """httpx's transport without proxies, over connections that share one look-up a host.

    HTTP/1.1, on purpose: measured against HTTP/2 on one connection or several, a pool of plain connections
    read from threads is the fastest way to fetch pages, and the only one of the two that threads can share.
    """

    def __init__(self, context: ssl.SSLContext, resolver: Resolver, connections: int) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=30.0,
            network_backend=_Backend(resolver),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; failures are httpcore's, which the client translates beside httpx's own."""
        assert isinstance(request.stream, httpx.SyncByteStream)
        answer = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer.stream),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


def is_inward(host: str, resolver: Resolver | None = None) -> bool:
    """Tell whether a host is this machine or its link: what a foreign redirect has no business to name.

    With a `resolver`, a name is looked up too, so that a public name with a loopback address does not pass.
    """
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return _is_inward_address(name)
    except ValueError:
        pass
    if resolver is None:
        return False
    try:
        return any(_is_inward_address(address) for address in resolver.addresses(name, 443))
    except OSError:
        return False


def _is_inward_address(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_link_local or address.is_unspecified

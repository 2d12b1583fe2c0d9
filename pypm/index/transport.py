"""Connections to servers: opened once, used again, looked up once, and never to this machine because a
stranger said so.

HTTP/1.1 over the standard library, on purpose: a pool of plain connections read from threads fetches pages
faster than HTTP/2 on one connection or several, and a general HTTP library costs more than the rest of a
short command, in imports and a request.

Twenty connections to one host make twenty look-ups of its name in the same moment; small resolvers drop
some, and each dropped one stalls its connection for five seconds (resolv.conf(5), `timeout`). Here one
look-up serves all.

Source: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import select
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol
from urllib.parse import quote, urlsplit

from pypm.index.authorities import Authorities
from pypm.index.failures import BadAddress, ConnectFailure

_PIECE_BYTES = 256 << 10
_SAFE_IN_TARGET = "/%:=&?~#+!$,;'@()*[]|"
"""What an address holds that is sent as it stands; `%` because addresses are encoded already."""

_Place = tuple[str, str, int]
"""Scheme, host and port."""


class Exchange(Protocol):
    """An answer whose body is still on its way."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""

    def raw(self) -> Iterator[bytes]:
        """Yield the body as it was sent, piece by piece, as the pieces come."""

    def decoded(self) -> Iterator[bytes]:
        """Yield the body with its content coding undone."""

    def close(self) -> None:
        """Let go of the connection. A body that was not read to its end costs the connection."""


class Transport(Protocol):
    """Sends requests; safe to share between threads."""

    def send(self, method: str, url: str, headers: Mapping[str, str]) -> Exchange:
        """Send one request without following redirects.

        Raises:
            OSError, ValueError, http.client.HTTPException: see `index.failures`, which translates them.
        """

    def close(self) -> None:
        """Close every connection that is not in use."""


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


class DirectTransport:
    """A pool of connections without proxies: at most so many requests in flight, idle connections kept."""

    def __init__(
        self, authorities: Authorities, resolver: Resolver, *, connections: int, timeout_seconds: float
    ) -> None:
        self._authorities = authorities
        self._resolver = resolver
        self._timeout_seconds = timeout_seconds
        self._in_flight = threading.BoundedSemaphore(connections)
        self._lock = threading.Lock()
        self._idle: dict[_Place, list[http.client.HTTPConnection]] = {}

    def send(self, method: str, url: str, headers: Mapping[str, str]) -> Exchange:
        """Send one request; see `Transport`."""
        place, target = _parsed(url)
        self._in_flight.acquire()
        try:
            connection = self._reusable(place)
            if connection is not None:
                try:
                    return self._exchange(connection, place, (method, target, headers))
                except TimeoutError:
                    raise
                except (OSError, http.client.HTTPException):
                    # The server had closed it, which shows only when something is sent.
                    pass
            return self._exchange(self._connected(place), place, (method, target, headers))
        except BaseException:
            self._in_flight.release()
            raise

    def open(self, url: str, count: int) -> None:
        """Open idle connections to a server ahead of the first requests.

        Raises:
            OSError, ValueError: the server cannot be reached.
        """
        place, _ = _parsed(url)
        self._resolver.addresses(place[1], place[2])
        openers = [
            threading.Thread(target=self._open_one, args=(place,), name="index-open", daemon=True)
            for _ in range(count - 1)
        ]
        for opener in openers:
            opener.start()
        self._keep(place, self._connected(place))

    def _open_one(self, place: _Place) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._keep(place, self._connected(place))

    def close(self) -> None:
        """Close every connection that is not in use."""
        with self._lock:
            idle = [connection for connections in self._idle.values() for connection in connections]
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _reusable(self, place: _Place) -> http.client.HTTPConnection | None:
        while True:
            with self._lock:
                idle = self._idle.get(place)
                if not idle:
                    return None
                connection = idle.pop()
            if not _has_news(connection.sock):
                return connection
            # Nothing was asked for: what can be read is the server's farewell.
            connection.close()

    def _keep(self, place: _Place, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.setdefault(place, []).append(connection)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        place: _Place,
        request: tuple[str, str, Mapping[str, str]],
    ) -> Exchange:
        method, target, headers = request
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
        except BaseException:
            connection.close()
            raise

        def done(*, reusable: bool) -> None:
            if reusable:
                self._keep(place, connection)
            else:
                connection.close()
            self._in_flight.release()

        return _DirectExchange(response, done)

    def _connected(self, place: _Place) -> http.client.HTTPConnection:
        scheme, host, port = place
        try:
            connected = self._encrypted(host, port) if scheme == "https" else self._plain(host, port)
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectFailure(*error.args) from error
        connection = http.client.HTTPConnection(host, port, timeout=self._timeout_seconds)
        connection.auto_open = 0
        connection.default_port = _DEFAULT_PORTS[scheme]
        connection.sock = connected
        return connection

    def _encrypted(self, host: str, port: int) -> ssl.SSLSocket:
        """Connect and greet; once more when the server is unknown and not all authorities were loaded yet."""
        had_all = self._authorities.are_complete
        try:
            return self._greeted(host, port, self._authorities.context)
        except ssl.SSLCertVerificationError:
            if had_all:
                raise
        return self._greeted(host, port, self._authorities.complete())

    def _greeted(self, host: str, port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
        plain = self._plain(host, port)
        try:
            return context.wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise

    def _plain(self, host: str, port: int) -> socket.socket:
        connected = self._first_connection(self._resolver.addresses(host, port), port)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def _first_connection(self, addresses: tuple[str, ...], port: int) -> socket.socket:
        for address in addresses[:-1]:
            with contextlib.suppress(OSError):
                return socket.create_connection((address, port), self._timeout_seconds)
        return socket.create_connection((addresses[-1], port), self._timeout_seconds)


class _DirectExchange:
    """Implements `Exchange` over one connection of a pool."""

    def __init__(self, response: http.client.HTTPResponse, done: Callable[..., None]) -> None:
        self._response = response
        self._done: Callable[..., None] | None = done
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}

    def raw(self) -> Iterator[bytes]:
        """Yield the body as it was sent; see `Exchange`."""
        response = self._response
        while piece := response.read1(_PIECE_BYTES):
            yield piece
        if response.length:
            # `read1` takes an early end for the end.
            raise http.client.IncompleteRead(b"", response.length)

    def decoded(self) -> Iterator[bytes]:
        """Yield the body with its content coding undone; see `Exchange`."""
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if coding in ("identity", ""):
            return self.raw()
        if coding in ("gzip", "x-gzip", "deflate"):
            return inflated(self.raw())
        raise http.client.HTTPException(f"unknown content coding {coding[:40]!a}")

    def close(self) -> None:
        """Give the connection back, or close it; see `Exchange`."""
        done, self._done = self._done, None
        if done is None:
            return
        response = self._response
        if not response.isclosed() and response.length == 0:
            response.close()
        complete = response.isclosed() and not response.length
        reusable = complete and not response.will_close
        response.close()
        done(reusable=reusable)


def inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Undo gzip or deflate a bounded piece at a time, so that a bomb is seen before it goes off."""
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        for piece in pieces:
            rest = piece
            while rest:
                yield decoder.decompress(rest, _PIECE_BYTES)
                rest = decoder.unconsumed_tail
        yield decoder.flush()
    except zlib.error as error:
        raise http.client.HTTPException(f"the compressed body is damaged: {error}") from error
    if not decoder.eof:
        raise http.client.IncompleteRead(b"")


_DEFAULT_PORTS = {"http": 80, "https": 443}


def _parsed(url: str) -> tuple[_Place, str]:
    """Return where an address leads and the request's target.

    Raises:
        BadAddress: there is no asking it.
    """
    try:
        parts = urlsplit(url)
        scheme, host = parts.scheme.lower(), parts.hostname or ""
        port = parts.port if parts.port is not None else _DEFAULT_PORTS.get(scheme, 0)
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
    except ValueError as error:
        raise BadAddress(str(error)) from error
    if scheme not in _DEFAULT_PORTS or not host or not port:
        raise BadAddress("neither http nor https, or no host")
    target = quote(parts.path or "/", safe=_SAFE_IN_TARGET)
    if parts.query:
        target += "?" + quote(parts.query, safe=_SAFE_IN_TARGET)
    return (scheme, host, port), target


def _has_news(connected: socket.socket | None) -> bool:
    """Whether something can be read from an idle connection: its end, as a rule."""
    if connected is None:
        return True
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(connected, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([connected], [], [], 0)[0])


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

"""The network client: every request that pypm makes itself goes through here.

One client serves all threads of a command. It retries what a second try can mend, follows redirects only
where they may lead, bounds what it reads in bytes and in time, and translates foreign errors at one seam.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import pypm
from pypm.codec.simple import ACCEPT, redact
from pypm.errors import ConfigurationError, IndexAccessError
from pypm.index.auth import Login, Logins, origin
from pypm.index.authorities import Authorities
from pypm.index.failures import TransientFailure, network_errors, refused_for_now, status_error
from pypm.index.transport import (
    DirectTransport,
    Exchange,
    Resolver,
    Transport,
    inflated,
    is_inward,
)

MAX_PAGE_BYTES = 64 << 20
"""The largest page of the default index has 12 MB; JSON of a gigabyte is an attack or a mistake."""

MAX_METADATA_BYTES = 16 << 20

_SMALL_FILE_BYTES = 8 << 20
"""A file up to this size is here before the transport for large ones is loaded."""

_OPENED_AHEAD = 4
"""Connections that are ready when the first pages are asked for."""

_RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ANSWERED_STATUSES = frozenset({200, 203, 206, 304, 404, 410, 416})
"""What a caller can make sense of; everything else is an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """How the client behaves. The caller reads configuration and environment; the client reads neither."""

    offline: bool = False
    connections: int = 20
    """Requests in flight at once."""
    timeout_seconds: float = 30.0
    """To connect, and between two pieces of an answer."""
    answer_seconds: float = 120.0
    """For a whole page: a server that drips bytes is cut off here."""
    retries: int = 3
    backoff_seconds: float = 0.25
    """The first pause, doubled at each retry, with jitter."""
    longest_pause_seconds: float = 20.0
    """The most that a server's `Retry-After` is obeyed."""
    redirects: int = 10
    trust_environment: bool = True
    """Honour proxies, `SSL_CERT_FILE`, `SSL_CERT_DIR` and netrc."""
    login_urls: tuple[str, ...] = field(default=(), repr=False)
    """Configured index URLs as the user wrote them, credentials in them."""
    logins: Mapping[str, Login] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """Further logins by index URL, from the environment."""
    user_agent: str = f"pypm/{pypm.__version__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer in memory."""

    status: int
    url: str
    """Where it was found, after redirects, without credentials."""
    headers: Mapping[str, str]
    """Names in lower case."""
    content: bytes = field(repr=False)
    coded: bytes | None = field(default=None, repr=False)
    """The body as it was sent, when that is gzip: whoever keeps it need not compress it again."""


class Stream:
    """An answer whose body is read piece by piece; see `Client.stream`."""

    def __init__(self, exchange: Exchange, url: str) -> None:
        self._exchange = exchange
        self.status = exchange.status
        self.url = url
        self.headers: Mapping[str, str] = exchange.headers

    def chunks(self) -> Iterator[bytes]:
        """Yield the body's bytes as they were sent.

        Raises:
            IndexAccessError: the connection broke. What was yielded so far is good.
        """
        with network_errors(self.url):
            yield from self._exchange.raw()


_Result = TypeVar("_Result")


class Client:
    """Asks indexes. Safe to share between threads; close it, or use it as a context manager."""

    def __init__(self, settings: NetworkSettings | None = None) -> None:
        self.settings = settings or NetworkSettings()
        environ = os.environ if self.settings.trust_environment else {}
        self._logins = Logins(self.settings.login_urls, environ=environ)
        for url, login in self.settings.logins.items():
            self._logins.add(url, login)
        self._resolver = Resolver()
        self._lock = threading.Lock()
        self._small: Transport | None = None
        """For pages and metadata: hundreds of small answers."""
        self._bulk: Transport | None = None
        """For artifacts, and for everything where a proxy is set."""
        self._direct = True

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; a later request opens new ones."""
        with self._lock:
            transports = [transport for transport in (self._small, self._bulk) if transport is not None]
            self._small = self._bulk = None
        for transport in dict.fromkeys(transports):
            transport.close()

    def open_ahead(self, urls: Iterable[str]) -> None:
        """Open a few connections to each of these in the background, as a hint.

        What goes wrong here goes wrong again at the first request, and is told there.
        """
        places = {origin(url): url for url in urls if url.startswith(("http://", "https://"))}
        if not self.settings.offline:
            for url in places.values():
                threading.Thread(target=self._open, args=(url,), name="index-open", daemon=True).start()

    def _open(self, url: str) -> None:
        with contextlib.suppress(OSError, ValueError, ConfigurationError):
            transport = self._small_transport()
            if isinstance(transport, DirectTransport):
                transport.open(url, _OPENED_AHEAD)

    def get(
        self,
        url: str,
        *,
        accept: str = "*/*",
        headers: Mapping[str, str] | None = None,
        limit_bytes: int = MAX_PAGE_BYTES,
    ) -> Answer:
        """Return the answer, body and all; 404 and 304 are answers.

        Raises:
            IndexAccessError: no answer, one that is an error, one too large or too slow.
        """
        fields = {"accept": accept, **(headers or {})}
        return self._retrying(url, lambda: self._whole("GET", url, fields, limit_bytes))

    def get_page(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the answer of a project page, JSON preferred."""
        return self.get(url, accept=ACCEPT, headers=headers)

    def head(self, url: str) -> Answer:
        """Return status and headers; `accept-encoding` is identity, so `content-length` is the file's."""
        fields = {"accept-encoding": "identity"}
        return self._retrying(url, lambda: self._whole("HEAD", url, fields, 0))

    def range(self, url: str, start: int, end: int | None = None, *, limit_bytes: int = 64 << 20) -> Answer:
        """Return bytes `start` to `end` (exclusive) of a file; a negative `start` asks for its last bytes.

        Status 206 says that the range was honoured, 200 that the whole file came (when it fits the limit).
        """
        last = "" if end is None else str(end - 1)
        span = f"bytes={start}" if start < 0 else f"bytes={start}-{last}"
        fields = {"range": span, "accept-encoding": "identity"}
        return self._retrying(url, lambda: self._whole("GET", url, fields, limit_bytes))

    @contextlib.contextmanager
    def stream(
        self, url: str, *, offset: int = 0, if_range: str | None = None, size_bytes: int | None = None
    ) -> Iterator[Stream]:
        """Open a file's bytes from `offset` on; closed at the end of the block. `size_bytes` is a hint.

        `if_range` (an ETag or date) asks for the whole file when it has changed. The opening is retried, the
        reading is not: the caller knows how much it has and can open again from there.
        """
        fields = {"accept-encoding": "identity"}
        if offset:
            fields["range"] = f"bytes={offset}-"
            if if_range:
                fields["if-range"] = if_range

        def open_it() -> tuple[Exchange, str]:
            is_small = size_bytes is not None and size_bytes <= _SMALL_FILE_BYTES and self._bulk is None
            transport = self._small_transport() if is_small else self._bulk_transport()
            return self._send(transport, "GET", url, fields)

        response, final_url = self._retrying(url, open_it)
        try:
            yield Stream(response, redact(final_url) if "@" in final_url else final_url)
        finally:
            response.close()

    def _retrying(self, url: str, attempt: Callable[[], _Result]) -> _Result:
        if self.settings.offline:
            raise IndexAccessError(
                f"`{redact(url)}` is needed, and pypm is offline",
                reference="offline",
                hint="run once without `--offline` to fill the cache",
            )
        for number in range(self.settings.retries):
            try:
                return attempt()
            except TransientFailure as failure:
                pause_seconds = self._pause(number, failure.retry_after_seconds)
                if pause_seconds is None:
                    raise failure.error from failure.__cause__
                time.sleep(pause_seconds)
        try:
            return attempt()
        except TransientFailure as failure:
            raise failure.error from failure.__cause__

    def _pause(self, number: int, retry_after_seconds: float | None) -> float | None:
        """Return how long to wait before the next try, or None when the server asks for too much patience.

        Jitter keeps many clients that failed together from coming back together.
        """
        if retry_after_seconds is not None:
            patient = retry_after_seconds <= self.settings.longest_pause_seconds
            return retry_after_seconds if patient else None
        longest = min(self.settings.backoff_seconds * float(2**number), self.settings.longest_pause_seconds)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing

    def _whole(self, method: str, url: str, fields: Mapping[str, str], limit_bytes: int) -> Answer:
        deadline = time.monotonic() + self.settings.answer_seconds
        response, final_url = self._send(self._small_transport(), method, url, fields)
        try:
            with network_errors(url, transient=True):
                is_gzip = response.headers.get("content-encoding") == "gzip"
                sent: list[bytes] = []
                pieces = inflated(_kept(response.raw(), sent)) if is_gzip else response.decoded()
                content = b"" if method == "HEAD" else _read(pieces, url, limit_bytes, deadline)
        finally:
            response.close()
        return Answer(
            status=response.status,
            url=final_url,
            headers=dict(response.headers),
            content=content,
            coded=b"".join(sent) if is_gzip and sent else None,
        )

    def _send(
        self, transport: Transport, method: str, url: str, fields: Mapping[str, str]
    ) -> tuple[Exchange, str]:
        """Send a request and follow its redirects; return the open response and its address."""
        for _ in range(self.settings.redirects + 1):
            headers = {"user-agent": self.settings.user_agent, "accept-encoding": "gzip", **fields}
            with network_errors(url, transient=True):
                login = self._logins.find(url)
                if login is not None:
                    headers["authorization"] = login.header
                response = transport.send(method, url, headers)
            status = response.status
            if status in _REDIRECTS and "location" in response.headers:
                response.close()
                url = self._redirected(url, response.headers["location"])
                continue
            if status in _ANSWERED_STATUSES:
                return response, url
            response.close()
            error = status_error(url, status, has_login=login is not None)
            if status in _RETRIED_STATUSES:
                raise refused_for_now(error, response.headers.get("retry-after"))
            raise error
        raise IndexAccessError(
            f"`{redact(url)}` redirects more than {self.settings.redirects} times",
            reference="index-redirect-loop",
            hint="check the index's URL",
        )

    def _redirected(self, url: str, location: str) -> str:
        """Return where a redirect leads, when it may lead there. Credentials in it are dropped."""
        reason = None
        try:
            target = urlsplit(urljoin(url, location))
            target = target._replace(netloc=target.netloc.rpartition("@")[2], fragment="")
            host, _ = target.hostname or "", target.port
        except ValueError:
            raise _forbidden_redirect(url, location, "which is no address") from None
        resolver = self._resolver if self._direct else None
        if target.scheme not in ("http", "https") or not host:
            reason = "which is not on the network"
        elif target.scheme == "http" and url.lower().startswith("https:"):
            reason = "which gives up encryption"
        elif (
            origin(target.geturl()) != origin(url)
            and is_inward(host, resolver)
            and not is_inward(urlsplit(url).hostname or "", resolver)
        ):
            reason = "which is this machine"
        if reason is not None:
            raise _forbidden_redirect(url, location, reason)
        return target.geturl()

    def _small_transport(self) -> Transport:
        """Return the transport for small answers, made at the first request: most commands need none."""
        with self._lock:
            if self._small is None:
                self._small = self._connect(bulk=False)
            return self._small

    def _bulk_transport(self) -> Transport:
        """Return the transport for artifacts, made at the first download: httpx takes a while to import."""
        with self._lock:
            if self._bulk is None:
                self._bulk = self._connect(bulk=True)
            return self._bulk

    def _connect(self, *, bulk: bool) -> Transport:
        settings = self.settings
        try:
            authorities = Authorities(trust_environment=settings.trust_environment)
            proxies = _proxies() if settings.trust_environment else {}
            self._direct = not proxies.keys() - {"no"}
            if self._direct and not bulk:
                return DirectTransport(
                    authorities,
                    self._resolver,
                    connections=settings.connections,
                    timeout_seconds=settings.timeout_seconds,
                )
            from pypm.index.httpx_transport import HttpxTransport

            return HttpxTransport(
                authorities.complete(),
                connections=settings.connections,
                timeout_seconds=settings.timeout_seconds,
                trust_environment=settings.trust_environment,
            )
        except (OSError, ValueError, ImportError) as error:
            raise ConfigurationError(
                f"the network cannot be set up: {error}",
                reference="network-settings",
                hint="check `SSL_CERT_FILE`, `SSL_CERT_DIR` and the proxy variables",
            ) from error


def _proxies() -> Mapping[str, str]:
    """Return the proxies of the environment or, elsewhere than on Linux, of the system, by scheme."""
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return {}
    import urllib.request  # Late: most environments name none.

    return urllib.request.getproxies()


def _kept(pieces: Iterator[bytes], kept: list[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        kept.append(piece)
        yield piece


def _read(body: Iterator[bytes], url: str, limit_bytes: int, deadline: float) -> bytes:
    pieces: list[bytes] = []
    size_bytes = 0
    for piece in body:
        size_bytes += len(piece)
        if size_bytes > limit_bytes:
            raise IndexAccessError(
                f"the answer of `{redact(url)}` is larger than {limit_bytes >> 20} MiB",
                reference="index-answer-too-large",
            )
        if time.monotonic() > deadline:
            raise IndexAccessError(
                f"the answer of `{redact(url)}` takes too long",
                reference="index-too-slow",
                hint="try again later, or use a mirror",
            )
        pieces.append(piece)
    return b"".join(pieces)


def _forbidden_redirect(url: str, location: str, reason: str) -> IndexAccessError:
    return IndexAccessError(
        f"`{redact(url)}` redirects to `{redact(location)}`, {reason}",
        reference="index-forbidden-redirect",
        hint="check the index's URL",
    )

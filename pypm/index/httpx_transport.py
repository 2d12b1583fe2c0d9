"""The general transport, on httpx: it streams artifacts, and serves every request where a proxy is set.

Index pages and metadata, hundreds of small answers a lock, go through `transport.DirectTransport` instead
where nothing stands in between; docs/design/0021-two-transports.md has the figures.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator, Mapping

import httpx

from pypm.index.failures import BadAddress, ConnectFailure, ProxyFailure


class HttpxTransport:
    """Implements `Transport` with httpx, which knows the kinds of proxies that an environment can name."""

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        connections: int,
        timeout_seconds: float,
        trust_environment: bool = True,
    ) -> None:
        self._http = httpx.Client(
            verify=context,
            timeout=httpx.Timeout(timeout_seconds, pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=trust_environment,
        )

    def send(self, method: str, url: str, headers: Mapping[str, str]) -> HttpxExchange:
        """Send one request; see `Transport`."""
        with _as_standard():
            request = self._http.build_request(method, url, headers=dict(headers))
            return HttpxExchange(self._http.send(request, stream=True, follow_redirects=False))

    def close(self) -> None:
        """Close every connection."""
        self._http.close()


class HttpxExchange:
    """Implements `Exchange` over httpx's answer."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers: Mapping[str, str] = dict(response.headers)

    def raw(self) -> Iterator[bytes]:
        """Yield the body as it was sent; see `Exchange`."""
        with _as_standard():
            # As they come: a chunk size would hold bytes back and lose them when the connection breaks.
            yield from self._response.iter_raw()

    def decoded(self) -> Iterator[bytes]:
        """Yield the body with its content coding undone; see `Exchange`."""
        with _as_standard():
            yield from self._response.iter_bytes()

    def close(self) -> None:
        """Let go of the connection; see `Exchange`."""
        self._response.close()


@contextlib.contextmanager
def _as_standard() -> Iterator[None]:
    """Raise httpx's failures as the ones that the other transport has."""
    try:
        yield
    except httpx.TimeoutException as failure:
        raise TimeoutError(str(failure)) from failure
    except httpx.ProxyError as failure:
        raise ProxyFailure(str(failure)) from failure
    except httpx.ConnectError as failure:
        raise ConnectFailure(str(failure)) from failure
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as failure:
        raise BadAddress(str(failure)) from failure
    except (httpx.HTTPError, httpx.StreamError) as failure:
        raise ConnectionError(str(failure)) from failure

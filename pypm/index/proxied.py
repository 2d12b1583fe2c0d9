"""Requests through proxies: httpx knows their kinds, and is imported only where the environment names one."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator, Mapping

import httpx

from pypm.index.failures import BadAddress, ConnectFailure, ProxyFailure


class ProxiedTransport:
    """Implements `Transport` with the proxies that the environment names."""

    def __init__(self, context: ssl.SSLContext, *, connections: int, timeout_seconds: float) -> None:
        self._http = httpx.Client(
            verify=context,
            timeout=httpx.Timeout(timeout_seconds, pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=True,
        )

    def send(self, method: str, url: str, headers: Mapping[str, str]) -> ProxiedExchange:
        """Send one request; see `Transport`."""
        with _as_standard():
            request = self._http.build_request(method, url, headers=dict(headers))
            return ProxiedExchange(self._http.send(request, stream=True, follow_redirects=False))

    def close(self) -> None:
        """Close every connection."""
        self._http.close()


class ProxiedExchange:
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

"""The seam where failures of the network become pypm's errors, and which of them are worth another try."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import time
from collections.abc import Iterator

from pypm.codec.simple import redact
from pypm.errors import IndexAccessError


class ConnectFailure(OSError):  # noqa: N818 - translated before anybody sees it
    """No connection came about."""


class ProxyFailure(OSError):  # noqa: N818 - translated before anybody sees it
    """A proxy refused."""


class BadAddress(ValueError):  # noqa: N818 - translated before anybody sees it
    """An address that cannot be asked."""


_FOREIGN = (http.client.HTTPException, OSError, ValueError)
_HOPELESS = (http.client.InvalidURL, ValueError)
"""What the same request will meet again."""

_CERTIFICATE_MARK = "CERTIFICATE_VERIFY_FAILED"


class TransientFailure(Exception):  # noqa: N818 - a signal to the retry loop, never seen outside the client
    """A failure that another try may mend; carries the error to raise when no try is left."""

    def __init__(self, error: IndexAccessError, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.retry_after_seconds = retry_after_seconds


@contextlib.contextmanager
def network_errors(url: str, *, transient: bool = False) -> Iterator[None]:
    """Translate every foreign failure of the block; with `transient`, those worth a retry say so.

    Raises:
        IndexAccessError: the request failed and will fail again, or retries are not wanted here.
        TransientFailure: another try may mend it.
    """
    try:
        yield
    except _FOREIGN as failure:
        error = _translate(failure, url)
        worth_retrying = not isinstance(failure, _HOPELESS) and _CERTIFICATE_MARK not in str(failure)
        if transient and worth_retrying:
            raise TransientFailure(error) from failure
        raise error from failure


def _translate(failure: Exception, url: str) -> IndexAccessError:
    place = f"`{redact(url)}`"
    text = str(failure)
    if _CERTIFICATE_MARK in text:
        return IndexAccessError(
            f"the certificate of {place} is not trusted",
            reference="index-certificate",
            hint="set `SSL_CERT_FILE` to the certificates of your network, if it inspects traffic",
        )
    if isinstance(failure, TimeoutError):
        return IndexAccessError(
            f"{place} did not answer in time",
            reference="index-timeout",
            hint="check the network, or try again",
        )
    if isinstance(failure, ProxyFailure):
        return IndexAccessError(
            f"the proxy on the way to {place} refused",
            reference="index-proxy",
            hint="check `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`",
        )
    if isinstance(failure, ConnectFailure):
        return IndexAccessError(
            f"{place} cannot be reached: {_reason(failure)}",
            reference="index-unreachable",
            hint="check the network and the index's URL",
        )
    if isinstance(failure, _HOPELESS):
        return IndexAccessError(
            f"{place} is not an address that can be asked",
            reference="index-bad-url",
            hint="check the index's URL",
        )
    return IndexAccessError(
        f"the answer of {place} broke off: {_reason(failure)}",
        reference="index-interrupted",
        hint="check the network, or try again",
    )


def _reason(failure: Exception) -> str:
    """Return the innermost cause in one short line: libraries wrap an `OSError` several times."""
    cause: BaseException = failure
    while (inner := cause.__cause__ or cause.__context__) is not None and isinstance(inner, Exception):
        cause = inner
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(failure)
    return (text.splitlines() or [type(failure).__name__])[0][:200]


def status_error(url: str, status: int, *, has_login: bool) -> IndexAccessError:
    """Return the error for a status that answers nothing."""
    place = f"`{redact(url)}`"
    if status in (401, 403):
        hint = (
            "the credentials in use were refused; check them"
            if has_login
            else "give credentials for the index: in `~/.netrc`, in its URL, or in the environment"
        )
        return IndexAccessError(
            f"{place} refuses access (status {status})", reference="index-unauthorized", hint=hint
        )
    if status == 407:
        return IndexAccessError(
            f"the proxy on the way to {place} asks for credentials",
            reference="index-proxy",
            hint="put them into `HTTPS_PROXY`",
        )
    hint = "try again later, or use a mirror" if status >= 500 or status == 429 else "check the index's URL"
    return IndexAccessError(f"{place} answered with status {status}", reference="index-status", hint=hint)


def refused_for_now(error: IndexAccessError, retry_after: str | None) -> TransientFailure:
    """Return the signal for a status that another try may mend, with the server's `Retry-After`.

    Source: RFC 9110, section 10.2.3: seconds, or a date.
    """
    if retry_after is None:
        return TransientFailure(error)
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return TransientFailure(error, retry_after_seconds=float(text[:9]))
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return TransientFailure(error)
    return TransientFailure(error, retry_after_seconds=max(0.0, moment.timestamp() - time.time()))

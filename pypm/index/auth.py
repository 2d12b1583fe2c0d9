"""Credentials of indexes: from configured URLs, the environment and netrc; sent to their host alone.

They never reach an error, a log, the cache or the lock: addresses are stripped where they enter.
"""

from __future__ import annotations

import base64
import netrc
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user name and a password, for HTTP basic authentication (RFC 7617)."""

    username: str
    password: str = field(repr=False)

    @property
    def header(self) -> str:
        """The value of the `Authorization` header."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode('ascii')}"


def split_login(url: str) -> tuple[str, Login | None]:
    """Return a URL without the credentials in it, and these credentials."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    username, _, password = userinfo.partition(":")
    bare = parts._replace(netloc=host).geturl()
    if not username and not password:
        return bare, None
    return bare, Login(username=unquote(username), password=unquote(password))


def origin(url: str) -> str:
    """Return scheme, host and port of a URL, in one spelling: what credentials are bound to."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    port = parts.port or _DEFAULT_PORTS.get(scheme, 0)
    return f"{scheme}://{(parts.hostname or '').lower()}:{port}"


class Logins:
    """Which login goes with an address. Looked up anew for each redirect: none follows to another host."""

    def __init__(self, urls: tuple[str, ...] = (), *, environ: Mapping[str, str] | None = None) -> None:
        """`urls` are index URLs with credentials in them; `environ` (`NETRC`, `HOME`) leads to netrc."""
        self._by_origin: dict[str, Login] = {}
        for url in urls:
            _, login = split_login(url)
            if login is not None:
                self._by_origin[origin(url)] = login
        self._netrc = _read_netrc(environ or {})

    def add(self, url: str, login: Login) -> None:
        """Use `login` for the host of `url`."""
        self._by_origin[origin(url)] = login

    def find(self, url: str) -> Login | None:
        """Return the login for an address, or None: a configured one before netrc's."""
        login = self._by_origin.get(origin(url))
        if login is not None or self._netrc is None:
            return login
        # By its own name alone: `default` stands for every host, also for one that a project nobody has read
        # names as its index.
        host = urlsplit(url).hostname or ""
        entry = None if host == "default" else self._netrc.hosts.get(host)
        if entry is None:
            return None
        username, account, password = entry
        return Login(username=username or account or "", password=password or "")


def environment_login(index_name: str, environ: Mapping[str, str]) -> Login | None:
    """Return what `PYPM_INDEX_<NAME>_USERNAME` and `..._PASSWORD` say for an index, or None."""
    stem = _stem(index_name)
    username = environ.get(f"{stem}_USERNAME")
    password = environ.get(f"{stem}_PASSWORD")
    if not username and not password:
        return None
    return Login(username=username or "", password=password or "")


def is_login_for(index_name: str, url: str, environ: Mapping[str, str]) -> bool:
    """Whether `PYPM_INDEX_<NAME>_HOST` says that the login of this name goes to the host of `url`.

    The name alone does not: any project can call an index of its own by it. A host is reached by HTTPS;
    `http://` before it says otherwise.
    """
    host = environ.get(f"{_stem(index_name)}_HOST", "")
    return bool(host) and origin(host if "://" in host else f"https://{host}") == origin(url)


def _stem(index_name: str) -> str:
    return "PYPM_INDEX_" + re.sub(r"[^A-Z0-9]", "_", index_name.upper())


def _read_netrc(environ: Mapping[str, str]) -> netrc.netrc | None:
    """A netrc file that cannot be read or parsed is not used; an index that needs it will answer 401."""
    if chosen := environ.get("NETRC"):
        places = [Path(chosen)]
    elif home := environ.get("HOME") or environ.get("USERPROFILE"):
        places = [Path(home) / ".netrc", Path(home) / "_netrc"]
    else:
        places = []
    for place in places:
        try:
            return netrc.netrc(str(place))
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
            continue
    return None

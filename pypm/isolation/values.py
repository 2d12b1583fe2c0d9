"""Sizes, durations, hosts and paths as people write them, in `pyproject.toml` as on the command line."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from pathlib import Path

from pypm.isolation.options import HostPort

_SIZE = re.compile(r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,6})?)\s*(?P<unit>[KMGT]?)(?:i?B)?", re.IGNORECASE)
_DURATION = re.compile(r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,6})?)\s*(?P<unit>ms|s|m|h|d)?")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?")
_HOST_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)

_SIZE_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_DURATION_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_LONGEST_SECONDS = 1e12
"""Beyond any run, and still exact as a float."""


class MalformedError(ValueError):
    """A value that does not read; the message goes on from the path of its key."""


def parse_size(text: object) -> int:
    """Read `512M`, `1.5G` or a plain number of bytes. Units are powers of 1024, as memory is counted."""
    if isinstance(text, int) and not isinstance(text, bool):
        size_bytes = text
    elif isinstance(text, str) and (match := _SIZE.fullmatch(text.strip())):
        size_bytes = int(float(match["number"]) * _SIZE_UNITS[match["unit"].upper()])
    else:
        raise MalformedError('must be a size such as "512M" or "2G"')
    if size_bytes <= 0:
        raise MalformedError("must be more than zero")
    return size_bytes


def parse_duration(text: object) -> float:
    """Read `30s`, `5m`, `1.5h` or a plain number of seconds."""
    if isinstance(text, int | float) and not isinstance(text, bool) and abs(text) < _LONGEST_SECONDS:
        seconds = float(text)
    elif isinstance(text, str) and (match := _DURATION.fullmatch(text.strip())):
        seconds = float(match["number"]) * _DURATION_UNITS[match["unit"] or ""]
    else:
        raise MalformedError('must be a duration such as "30s" or "5m"')
    if not seconds > 0:
        raise MalformedError("must be more than zero")
    return seconds


def parse_host(text: object) -> HostPort:
    """Read `HOST` or `HOST:PORT`: a name, `*.` before a name, an address (`[::1]:80`), or a private network.

    An address stands for itself, and a name may point at it though it be private. A network (`10.0.0.0/8`)
    may be pointed into by every name that is allowed.
    """
    if not isinstance(text, str) or not text:
        raise MalformedError('must name hosts such as "api.example.com" or "api.example.com:8443"')
    if "/" in text:
        return HostPort(host=_private_network(text))
    host, port = _split_port(text)
    try:
        address = ip_address(host)
    except ValueError:
        return HostPort(host=_host_name(host, text), port=port)
    if address.is_multicast or address.is_unspecified:
        raise MalformedError(f"must name a host, `{text}` is the address of none")
    return HostPort(host=str(address), port=port)


def _split_port(text: str) -> tuple[str, int | None]:
    """Take the port off the end; an IPv6 address that has one stands in brackets."""
    if text.count(":") > 1 and not text.startswith("["):
        return text, None
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        colon, port_text = rest[:1], rest[1:]
        if not bracket or ":" not in host or colon not in ("", ":"):
            raise MalformedError(f"has no valid address in `{text}`")
    else:
        host, colon, port_text = text.partition(":")
    if colon and not (port_text.isascii() and port_text.isdigit() and 0 < int(port_text) < 1 << 16):
        raise MalformedError(f"has no valid port in `{text}`")
    return host, int(port_text) if colon else None


def _host_name(host: str, text: str) -> str:
    labels = host.removeprefix("*.").rstrip(".").split(".")
    if not all(_HOST_LABEL.fullmatch(label) for label in labels) or len(host) > 253:
        raise MalformedError(f"has no valid host name in `{text}`; write the name without scheme and path")
    if labels[-1].isdigit():
        raise MalformedError(f"must name a host, `{text}` is neither a name nor an address")
    return host.rstrip(".").lower()


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _private_network(text: str) -> str:
    before = text.partition("/")[0]
    if not _is_address(before):
        raise MalformedError(f"has no valid host name in `{text}`; write the name without scheme and path")
    try:
        found = ip_network(text)
    except ValueError as error:
        raise MalformedError(f"has no valid network in `{text}`: {error}") from None
    if not found.is_private:
        raise MalformedError(f"holds `{text}`, which is no private network; public addresses need no mention")
    return str(found)


def parse_path(text: object, *, base: Path, home: Path) -> Path:
    """Read a path relative to `base`, `~` standing for `home`; absolute, `..` and links left as they are."""
    if not isinstance(text, str) or not text or "\0" in text:
        raise MalformedError("must be a path")
    if text == "~" or text.startswith("~/"):
        return home / text[2:]
    if text.startswith("~"):
        raise MalformedError(f"names another user's home in `{text}`")
    return base / text


def parse_variable(text: object) -> str:
    """Read the name of an environment variable, or a prefix such as `AWS_*`."""
    if not isinstance(text, str) or not _ENVIRONMENT_NAME.fullmatch(text):
        raise MalformedError('must hold variable names such as "TOKEN" or prefixes such as "AWS_*"')
    return text


def parse_device(text: object) -> str:
    """Read `gpu` or the path of a node below `/dev`."""
    if text == "gpu":
        return "gpu"
    if not isinstance(text, str) or not text.startswith("/dev/") or ".." in text.split("/"):
        raise MalformedError('must be "gpu" or a path below `/dev/`')
    return text

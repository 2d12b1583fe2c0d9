"""TCP to the host that an attack on the allow-list may reach, and to those that it may not."""

from __future__ import annotations

import socket

from attempt import FACTS


def say(
    address: tuple[str, int],
    text: bytes = b"STOLEN",
    family: socket.AddressFamily = socket.AF_INET,
    protocol: int = 0,
) -> bytes:
    """Connect, send `text` and return its echo. Raises: OSError, where there is none."""
    with socket.socket(family, socket.SOCK_STREAM, protocol) as client:
        client.settimeout(5)
        client.connect(address)
        client.sendall(text)
        return echo_of(client, text)


def echo_of(client: socket.socket, text: bytes) -> bytes:
    """Return what comes back. Raises: ConnectionResetError for nothing."""
    echo = client.recv(len(text), socket.MSG_WAITALL)
    if not echo:
        raise ConnectionResetError
    return echo


def neighbour() -> bool:
    """Whether the listed host answers by its name."""
    return say(("localhost", FACTS["allowed"]), b"hello") == b"hello"


def greeting(name: str, secret: bytes = b"STOLEN") -> bytes:
    """A ClientHello with this server name, and a secret in a field that a client may fill as it likes."""
    server = name.encode()
    entry = b"\0" + len(server).to_bytes(2, "big") + server
    listed = len(entry).to_bytes(2, "big") + entry
    extensions = b"\0\0" + len(listed).to_bytes(2, "big") + listed
    body = b"\x03\x03" + secret.ljust(32, b".") + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    body += len(extensions).to_bytes(2, "big") + extensions
    hello = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello

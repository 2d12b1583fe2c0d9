"""Ask for another server by TLS at a listed host: behind a shared front end that is another customer.

Source: RFC 6066 section 3 (server_name), RFC 8446 section 4.1.2; domain fronting.
"""

import socket
import sys

from attempt import FACTS, denied, works

WAYS = ("run", "shell")


def prepare(arena):
    from integration.escape.allowed import allow_own_name

    allow_own_name(arena, sys.modules[__name__])


def afterwards(arena):
    from integration.escape.allowed import seen

    return seen()


def _say(address, text=b"STOLEN", family=socket.AF_INET, protocol=0):
    with socket.socket(family, socket.SOCK_STREAM, protocol) as client:
        client.settimeout(5)
        client.connect(address)
        client.sendall(text)
        return client.recv(len(text), socket.MSG_WAITALL) or denied_reset()


def denied_reset():
    raise ConnectionResetError


def _neighbour():
    return _say((FACTS["host_name"], FACTS["allowed"]), b"hello") == b"hello"


def _greeting(name, secret=b"STOLEN"):
    """A ClientHello with this server name, and a secret in a field that a client may fill as it likes."""
    server = name.encode()
    entry = b"\0" + len(server).to_bytes(2, "big") + server
    listed = len(entry).to_bytes(2, "big") + entry
    extensions = b"\0\0" + len(listed).to_bytes(2, "big") + listed
    body = b"\x03\x03" + secret.ljust(32, b".") + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    body += len(extensions).to_bytes(2, "big") + extensions
    hello = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello


def _in_pieces(name):
    with socket.create_connection((FACTS["host_name"], FACTS["allowed"]), 5) as client:
        for byte in _greeting(name):
            client.sendall(bytes([byte]))
        return client.recv(1) or denied_reset()


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
        denied(f"the server name {name!r}", lambda name=name: _say(host, _greeting(name)))
    denied("the same a byte at a time", lambda: _in_pieces("other.example.com"))
    denied(
        "a greeting that cannot be read",
        lambda: _say(host, b"\x16\x03\x01\x00\x10\x01\x00\xff\xff" + b"STOLEN" * 4),
    )
    works("the server name that is listed", lambda: _say(host, _greeting(own, b"mine")) and 1)
    works("what is no TLS", _neighbour)

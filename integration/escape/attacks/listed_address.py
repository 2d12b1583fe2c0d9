"""Reach a host that is not listed by its address, with the listed port; also by the addresses that stand for names.

Source: RFC 2544 (198.18.0.0/15), which the allow-list takes its own addresses from.
"""

import socket
import sys

from attempt import FACTS, denied, works

WAYS = ("run", "shell")


def prepare(arena):
    from integration.escape.allowed import allow

    allow(arena, sys.modules[__name__], "files.example.com:{port}")


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
    return _say(("localhost", FACTS["allowed"]), b"hello") == b"hello"


def inside():
    port = FACTS["allowed"]
    for address in (
        "192.0.2.1",
        "203.0.113.7",
        "10.0.0.1",
        "172.17.0.1",
        "198.18.0.2",
        "198.18.200.200",
        "198.19.0.1",
    ):
        denied(address, lambda address=address: _say((address, port)))
    for address in ("2001:db8::1", "64:ff9b:1::c612:201", "fd00::1"):
        denied(address, lambda address=address: _say((address, port), family=socket.AF_INET6))
    works("the listed host by its name", _neighbour)

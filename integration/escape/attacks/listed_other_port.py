"""Reach another port of a listed host: the machine outside listens there.

Source: tcp(7).
"""

import socket
import sys

from attempt import FACTS, denied, works

WAYS = ("run", "shell")


def prepare(arena):
    from integration.escape.allowed import allow

    allow(arena, sys.modules[__name__])


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
    for host in ("localhost", "127.0.0.1"):
        for port in (FACTS["unlisted"], 22, 80, 443):
            denied(f"{host}:{port}", lambda host=host, port=port: _say((host, port)))
    denied("the same over IPv6", lambda: _say(("::1", FACTS["unlisted"]), family=socket.AF_INET6))
    works("the listed port", _neighbour)

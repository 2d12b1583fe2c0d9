"""Have a listed name point inwards: whoever owns a name decides where it leads, and may change it at any time.

Source: DNS rebinding; RFC 1918, RFC 6890. The name is this machine's own, which leads to itself.
"""

import socket
import sys

from attempt import FACTS, denied, works

WAYS = ("run", "shell")


def prepare(arena):
    from integration.escape.allowed import allow

    arena.facts(host_name=socket.gethostname())
    allow(arena, sys.modules[__name__], socket.gethostname() + ":{port}")


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
    name = FACTS["host_name"]
    denied("a listed name that leads to this machine", lambda: _say((name, FACTS["allowed"])))
    works("localhost, which is listed itself", _neighbour)

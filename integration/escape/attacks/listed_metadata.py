"""Reach the metadata service of a cloud, which hands out credentials, by every way to write its address.

Source: RFC 3927; 169.254.169.254, fd00:ec2::254 and the names that clouds give them.
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
    for port in (80, FACTS["allowed"]):
        for host in (
            "169.254.169.254",
            "2852039166",
            "0xa9fea9fe",
            "169.254.43518",
            "metadata.google.internal",
            "metadata",
        ):
            denied(f"{host}:{port}", lambda host=host, port=port: _say((host, port)))
        for host in ("fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"):
            denied(f"{host}:{port}", lambda host=host, port=port: _say((host, port), family=socket.AF_INET6))
    works("the listed host by its name", _neighbour)

"""Reach another port of a listed host: the machine outside listens there.

Source: tcp(7).
"""

import socket

from attempt import FACTS, denied, works
from talk import neighbour, say

WAYS = ("run", "shell")
LISTED = ("localhost:{port}",)


def inside():
    for host in ("localhost", "127.0.0.1"):
        for port in (FACTS["unlisted"], 22, 80, 443):
            denied(f"{host}:{port}", lambda host=host, port=port: say((host, port)))
    denied("the same over IPv6", lambda: say(("::1", FACTS["unlisted"]), family=socket.AF_INET6))
    works("the listed port", neighbour)

"""Get around the relay with ways of TCP that carry data or addresses elsewhere: fast open, MPTCP, urgent data.

Source: RFC 7413 (fast open), RFC 8684 (MPTCP), tcp(7).
"""

import socket

from attempt import FACTS, denied, works
from talk import echo_of, neighbour, say

WAYS = ("run", "shell")
LISTED = ("localhost:{port}",)


MSG_FASTOPEN, IPPROTO_MPTCP = 0x20000000, 262


def _fast(address, text):
    with socket.socket() as client:
        client.sendto(text, MSG_FASTOPEN, address)
        client.settimeout(5)
        return echo_of(client, text)


def inside():
    listed, port = ("127.0.0.1", FACTS["allowed"]), FACTS["allowed"]
    for address in (("192.0.2.1", port), ("127.0.0.1", FACTS["unlisted"]), ("198.18.9.9", port)):
        denied(f"fast open to {address[0]}:{address[1]}", lambda a=address: _fast(a, b"STOLEN"))
        denied(f"MPTCP to {address[0]}:{address[1]}", lambda a=address: say(a, protocol=IPPROTO_MPTCP))
    works("the listed host by fast open", lambda: _fast(listed, b"hello") == b"hello")
    works("the listed host", neighbour)

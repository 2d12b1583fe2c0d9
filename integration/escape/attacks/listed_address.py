"""Reach a host that is not listed by its address, with the listed port; also by the addresses that stand for names.

Source: RFC 2544 (198.18.0.0/15), which the allow-list takes its own addresses from.
"""

import socket

from attempt import FACTS, denied, works
from talk import neighbour, say

WAYS = ("run", "shell")
LISTED = ("localhost:{port}", "files.example.com:{port}")


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
        denied(address, lambda address=address: say((address, port)))
    for address in ("2001:db8::1", "64:ff9b:1::c612:201", "fd00::1"):
        denied(address, lambda address=address: say((address, port), family=socket.AF_INET6))
    works("the listed host by its name", neighbour)

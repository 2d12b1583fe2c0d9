"""Reach the metadata service of a cloud, which hands out credentials, by every way to write its address.

Source: RFC 3927; 169.254.169.254, fd00:ec2::254 and the names that clouds give them.
"""

import socket

from attempt import FACTS, denied, works
from talk import neighbour, say

WAYS = ("run", "shell")
LISTED = ("localhost:{port}",)


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
            denied(f"{host}:{port}", lambda host=host, port=port: say((host, port)))
        for host in ("fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"):
            denied(f"{host}:{port}", lambda host=host, port=port: say((host, port), family=socket.AF_INET6))
    works("the listed host by its name", neighbour)

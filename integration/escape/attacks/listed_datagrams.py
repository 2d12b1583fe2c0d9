"""Reach a listed host, or any, without TCP: UDP, UDP-Lite, QUIC's port, ICMP, SCTP, raw sockets.

Source: ip(7), udp(7), udplite(7), icmp(7), RFC 9000.
"""

import socket

from attempt import FACTS, denied, works
from talk import neighbour

WAYS = ("run", "shell")
LISTED = ("localhost:{port}",)


def _send(kind, protocol, address):
    with socket.socket(socket.AF_INET, kind, protocol) as client:
        client.settimeout(1)
        client.connect(address)
        client.send(b"STOLEN")
        return client.recv(100)


def inside():
    for host in ("127.0.0.1", "198.18.1.0", "192.0.2.1"):
        target = (host, FACTS["allowed"])
        denied(f"UDP to {host}", lambda t=target: _send(socket.SOCK_DGRAM, 0, t))
        denied(f"UDP-Lite to {host}", lambda t=target: _send(socket.SOCK_DGRAM, 136, t))
        denied(f"SCTP to {host}", lambda t=target: _send(socket.SOCK_STREAM, 132, t))
        denied(f"ICMP to {host}", lambda t=target: _send(socket.SOCK_DGRAM, 1, t))
        denied(f"a raw socket to {host}", lambda t=target: _send(socket.SOCK_RAW, 255, t))
    works("TCP to the listed host", neighbour)

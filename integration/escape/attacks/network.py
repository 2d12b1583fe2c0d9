"""Reach anything that is not the sandbox's own loopback: by TCP, UDP, MPTCP, fast open, DNS, IPv6, metadata.

Source: ip(7), tcp(7), RFC 8684, RFC 7413; 169.254.169.254 hands out cloud credentials.
"""

import socket
import threading

from attempt import FACTS, denied, works


def prepare(arena):
    arena.facts(port=arena.listen(), address=_own_address())


def _own_address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return probe.getsockname()[0]


def afterwards(arena):
    return arena.reached()


def _tcp(address, protocol=0, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM, protocol) as client:
        client.settimeout(2)
        client.connect(address)


def _udp(address, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        return client.sendto(b"x", address)


def _fast_open(address):
    with socket.socket() as client:
        client.settimeout(2)
        return client.sendto(b"x", 0x20000000, address)


def _own():
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=server.accept, daemon=True).start()
    _tcp(server.getsockname())


def inside():
    host = ("127.0.0.1", FACTS["port"])
    denied("the host's loopback", lambda: _tcp(host))
    denied("the host's own address", lambda: _tcp((FACTS["address"], FACTS["port"])))
    denied("TCP outside", lambda: _tcp(("192.0.2.1", 443)))
    denied("MPTCP", lambda: _tcp(("192.0.2.1", 443), 262))
    denied("TCP fast open", lambda: _fast_open(("192.0.2.1", 443)))
    denied("UDP outside", lambda: _udp(("192.0.2.1", 53)))
    denied("IPv6 outside", lambda: _udp(("2001:db8::1", 53), socket.AF_INET6))
    denied("cloud metadata", lambda: _tcp(("169.254.169.254", 80)))
    denied("multicast", lambda: _udp(("224.0.0.251", 5353)))
    denied("broadcast", lambda: _udp(("255.255.255.255", 67)))
    denied("a name", lambda: socket.getaddrinfo("example.org", 443))
    denied("raw sockets", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
    works("localhost by name", lambda: socket.getaddrinfo("localhost", 80))
    works("one's own loopback", _own)

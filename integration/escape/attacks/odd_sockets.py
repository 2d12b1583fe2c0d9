"""Make sockets of rare families: the hypervisor's, raw packets, kernel interfaces with a history.

Source: vsock(7), packet(7), netlink(7); CVE-2021-43267 (TIPC), CVE-2022-27666, the AF_ALG and AF_XDP bugs;
CVE-2019-8956 (SCTP), CVE-2017-6074 (DCCP), CVE-2023-0461 (TCP_ULP).
"""

import socket

from attempt import NUMBERS, call, denied, works

_FAMILIES = {
    "PACKET": 17,
    "VSOCK": 40,
    "ALG": 38,
    "XDP": 44,
    "TIPC": 30,
    "BLUETOOTH": 31,
    "CAN": 29,
    "RDS": 21,
    "KEY": 15,
    "QIPCRTR": 42,
    "SMC": 43,
    "PPPOX": 24,
    "LLC": 26,
    "IUCV": 32,
    "KCM": 41,
    "X25": 9,
    "AX25": 3,
    "NFC": 39,
}


def inside():
    for name, number in _FAMILIES.items():
        denied(f"AF_{name}", lambda number=number: call("socket", number, 1, 0))
        denied(f"AF_{name}, datagrams", lambda number=number: call("socket", number, 2, 0))
    denied("AF_VSOCK with high bits", lambda: call("socket", 40 | 1 << 32, 1, 0))
    denied("AF_TIPC pair", lambda: socket.socketpair(30, socket.SOCK_STREAM))
    for name, (kind, number) in {
        "SCTP": (1, 132),
        "DCCP": (6, 33),
        "L2TP": (2, 115),
        "UDP-Lite": (2, 136),
        "SMC": (1, 256),
    }.items():
        denied(f"{name} over IP", lambda kind=kind, number=number: call("socket", 2, kind, number))
    denied("TLS in the kernel", lambda: socket.socket().setsockopt(6, 31, b"tls"))
    for name, number in {
        "AUDIT": 9,
        "KOBJECT_UEVENT": 15,
        "NETFILTER": 12,
        "GENERIC": 16,
        "XFRM": 6,
        "SOCK_DIAG": 4,
        "CRYPTO": 21,
        "CONNECTOR": 11,
    }.items():
        denied(f"NETLINK_{name}", lambda number=number: call("socket", 16, 3, number))
    denied("NETLINK_GENERIC with high bits", lambda: call("socket", 16, 3, 16 | 1 << 32))
    works("the list of interfaces", lambda: [name for _, name in socket.if_nameindex()])
    works("an ordinary socket", lambda: socket.socket().close() is None and NUMBERS["socket"] > 0)

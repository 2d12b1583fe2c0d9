"""Type into the caller's terminal, also with the request's high bits set, which a 64-bit filter misses.

Source: CVE-2017-5226 (bubblewrap), CVE-2019-10063 and CVE-2023-28100 (flatpak), ioctl_tty(2).
"""

import fcntl
import os

from attempt import call, denied, works

TIOCSTI, TIOCLINUX = 0x5412, 0x541C


def inside():
    buffer = __import__("ctypes").create_string_buffer(b"x")
    for number in (0, 1, 2):
        for name, request in (("TIOCSTI", TIOCSTI), ("TIOCLINUX", TIOCLINUX)):
            denied(
                f"{name} on {number}",
                lambda number=number, request=request: call("ioctl", number, request, buffer),
            )
            for high in (1 << 32, 1 << 63 - 1, 0xFFFFFFFF << 32):
                value = (request | high) & 0xFFFFFFFFFFFFFFFF
                value -= (1 << 64) if value >> 63 else 0
                denied(
                    f"{name} with high bits on {number}",
                    lambda number=number, value=value: call("ioctl", number, value, buffer),
                )
    denied("TIOCSTI on a terminal of one's own", lambda: fcntl.ioctl(os.openpty()[1], TIOCSTI, b"x"))

    def own():
        master, slave = os.openpty()
        return os.write(slave, b"x") and os.read(master, 1) == b"x"

    works("a terminal of one's own", own)

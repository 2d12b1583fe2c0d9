"""Attach a line discipline to a terminal, which loads a module and runs a protocol of the kernel on its bytes.

Source: ioctl_tty(2) TIOCSETD; CVE-2017-2636 (n_hdlc), CVE-2023-6546 (n_gsm), CVE-2024-27043.
"""

import fcntl
import os
import struct

from attempt import denied, works

_TIOCSETD, _TIOCCONS = 0x5423, 0x541D
_DISCIPLINES = {"SLIP": 1, "PPP": 3, "AX25": 5, "X25": 6, "HDLC": 13, "SLCAN": 17, "GSM0710": 21, "MCTP": 28}


def _set(number):
    _, slave = os.openpty()
    return fcntl.ioctl(slave, _TIOCSETD, struct.pack("i", number))


def inside():
    for name, number in _DISCIPLINES.items():
        denied(f"the discipline {name}", lambda number=number: _set(number))
    denied("the console's output", lambda: fcntl.ioctl(os.openpty()[1], _TIOCCONS))

    def size():
        _, slave = os.openpty()
        return fcntl.ioctl(slave, 0x5413, bytes(8)) is not None

    works("a terminal's size", size)

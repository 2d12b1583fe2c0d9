"""Get hold of the caller's own terminal where the command has one: its device, its session, its input queue.

Source: tty_ioctl(4), credentials(7); what is typed into it after the end runs with all rights.
"""

import os
import stat

from attempt import FACTS, denied, hidden, works

WAYS = ("run", "shell")


def outside(arena, way):
    if way.name == "shell":
        return way.enter(["callers_terminal"])
    return arena.type([*arena.pypm, "run", *arena.inner("callers_terminal")], "")


def prepare(arena):
    arena.facts(devices=[os.stat(f"/dev/pts/{name}").st_rdev for name in os.listdir("/dev/pts")])


def inside():
    host_device = os.stat("/dev/pts").st_dev
    hidden(
        "a descriptor of another pty file system",
        lambda: [
            number
            for number in range(3)
            if stat.S_ISCHR(os.fstat(number).st_mode)
            and os.fstat(number).st_rdev >> 8 in range(136, 144)
            and os.fstat(number).st_dev != host_device
        ],
    )
    denied("the console", lambda: os.open("/dev/console", os.O_RDWR))
    denied("tty0", lambda: os.open("/dev/tty0", os.O_RDWR))
    works("a terminal", lambda: os.isatty(1) and FACTS is not None)

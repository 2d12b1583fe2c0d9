"""Recognise the machine and its user: names, ids, addresses.

Source: machine-id(5), random(4) boot_id, netdevice(7).
"""

import os
import platform
import pwd
from pathlib import Path

from attempt import FACTS, denied, hidden, works


def prepare(arena):
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    uptime = Path("/proc/uptime").read_text()
    arena.facts(
        host=platform.node(),
        boot=boot,
        user=arena.user or "root",
        uptime=uptime,
        network=os.readlink("/proc/self/ns/net"),
    )


def inside():
    hidden("the host's name", lambda: platform.node() == FACTS["host"])
    hidden(
        "the boot id", lambda: Path("/proc/sys/kernel/random/boot_id").read_text().strip() == FACTS["boot"]
    )
    denied("the machine id", lambda: Path("/etc/machine-id").read_text())
    denied("D-Bus's machine id", lambda: Path("/var/lib/dbus/machine-id").read_text())
    denied("the hardware's serial", lambda: os.listdir("/sys/class/dmi/id"))
    hidden("the user's name", lambda: FACTS["user"] in (entry.pw_name for entry in pwd.getpwall()))
    hidden(
        "users of the host",
        lambda: [entry.pw_name for entry in pwd.getpwall() if entry.pw_uid not in (1000, 65534)],
    )
    hidden(
        "network interfaces", lambda: set(os.listdir("/sys/class/net")) if os.path.exists("/sys") else set()
    )
    hidden("host's network namespace", lambda: os.readlink("/proc/self/ns/net") == FACTS["network"])
    hidden("host's connections", lambda: Path("/proc/net/tcp").read_text().splitlines()[1:])
    works("a user of one's own", lambda: pwd.getpwuid(os.getuid()).pw_name)

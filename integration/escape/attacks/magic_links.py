"""Follow and write through the kernel's magic links, which lead around every path check.

Writing to the host's program through `/proc/self/exe` is how containers were left for good.
Source: CVE-2019-5736 (runc), CVE-2024-21626 (leaked working directory), proc(5).
"""

import os
from pathlib import Path

from attempt import denied, hidden, works


def inside():
    for name in ("exe", "cwd", "root", "ns/mnt", "ns/user", "ns/pid", "fd/0", "fd/3", "map_files"):
        denied(
            f"/proc/1/{name}",
            lambda name=name: (
                os.stat(f"/proc/1/{name}") if "map" not in name else os.listdir(f"/proc/1/{name}") or 1 / 0
            ),
        )
    for name in ("/proc/self/exe", "/proc/1/exe"):
        denied(f"writing to {name}", lambda name=name: os.open(name, os.O_WRONLY))
        denied(f"truncating {name}", lambda name=name: os.truncate(name, 0))
        denied(f"chmod of {name}", lambda name=name: os.chmod(name, 0o777))
    hidden(
        "descriptors that lead out",
        lambda: [
            link
            for fd in os.listdir("/proc/self/fd")
            if int(fd) > 2 and os.path.exists(f"/proc/self/fd/{fd}")
            for link in [os.readlink(f"/proc/self/fd/{fd}")]
            if not link.startswith(("/proc/", "/dev/urandom"))
        ],
    )
    works("one's own program", lambda: Path("/proc/self/exe").read_bytes()[:4] == b"\x7fELF")
    works("one's own directory", lambda: os.readlink("/proc/self/cwd") == os.getcwd())

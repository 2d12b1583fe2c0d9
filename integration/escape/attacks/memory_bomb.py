"""Take more memory than the policy allows. Source: getrlimit(2) RLIMIT_AS, cgroup-v2 memory.max."""

import mmap

from attempt import denied, works

WAYS = ("run", "shell")
FLAGS = ("--memory", "512M")


def inside():
    denied("1 GiB in one piece", lambda: mmap.mmap(-1, 1 << 30))
    denied("1 GiB in pieces", lambda: [bytearray(1 << 24) for _ in range(64)] and 1)
    works("16 MiB", lambda: len(bytearray(1 << 24)))

"""Take more memory than the policy allows, in one process and in several.

Source: cgroup-v2 memory.max; getrlimit(2) RLIMIT_AS, where no control group can be made.
"""

import os

from attempt import denied, works

WAYS = ("run", "shell")
FLAGS = ("--memory", "512M")


def _fill(size):
    """In a process of its own: the kernel may end it."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(len(bytearray(b"x") * size) != size)
        except MemoryError:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    if status:
        raise MemoryError(f"it ended with {status}")
    return size


def inside():
    denied("1 GiB in one piece", lambda: _fill(1 << 30))
    works("16 MiB", lambda: _fill(1 << 24))

"""Find the host's System V shared memory and POSIX queues. Source: ipc_namespaces(7), mq_overview(7)."""

import ctypes
import os

from attempt import FACTS, call, denied, hidden, works

_MADE = []


def prepare(arena):
    libc = ctypes.CDLL(None, use_errno=True)
    key = 0x45534300 | os.getpid() & 0xFF
    number = libc.shmget(key, 4096, 0o1000 | 0o666)
    _MADE.append((libc, number))
    arena.facts(key=key)


def afterwards(arena):
    for libc, number in _MADE:
        libc.shmctl(number, 0, None)
    _MADE.clear()
    return ()


def inside():
    denied("the host's shared memory", lambda: call("shmget", FACTS["key"], 0, 0))
    hidden("segments of others", lambda: open("/proc/sysvipc/shm").read().splitlines()[1:])
    denied("a message queue of the host", lambda: call("mq_open", b"escape", 0, 0, 0))
    works("a segment of one's own", lambda: call("shmget", 4711, 4096, 0o1600) >= 0)

"""Crash: the kernel would start the host's handler, as root, and feed it what the payload has in memory.

A limit of 0 keeps it from writing a file, and not from starting a handler; only a limit of 1 does that, so
that it must not become 0 either.
Source: core(5), `do_coredump` in fs/coredump.c; CVE-2025-4598 (systemd-coredump), CVE-2025-5054 (apport).
"""

import ctypes
import mmap
import os
import resource
import subprocess
import sys

from attempt import PROJECT, hidden, works

_PRLIMIT = {"x86_64": 302, "aarch64": 261}[os.uname().machine]
_CORE = resource.RLIMIT_CORE


def _at_a_round_address(value):
    """The new limit lies where the lower half of its address is zero, so that it looks like none."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    address = libc.mmap(
        ctypes.c_void_p(1 << 32),
        ctypes.c_size_t(mmap.PAGESIZE),
        mmap.PROT_READ | mmap.PROT_WRITE,
        mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10,
        -1,
        ctypes.c_long(0),
    )
    (ctypes.c_uint64 * 2).from_address(address)[:] = (value, 1)
    libc.syscall(ctypes.c_long(_PRLIMIT), 0, _CORE, ctypes.c_void_p(address), None)


def _changed(action):
    try:
        action()
    except (OSError, ValueError):
        pass
    return resource.getrlimit(_CORE) != (1, 1)


def inside():
    hidden("another limit", lambda: _changed(lambda: None))
    hidden("a larger one", lambda: _changed(lambda: resource.setrlimit(_CORE, (1 << 20, 1 << 20))))
    hidden("none at all", lambda: _changed(lambda: resource.setrlimit(_CORE, (0, 1))))
    hidden(
        "the same for oneself by pid", lambda: _changed(lambda: resource.prlimit(os.getpid(), _CORE, (0, 0)))
    )
    hidden("the same from a round address", lambda: _changed(lambda: _at_a_round_address(0)))
    done = subprocess.run([sys.executable, "-I", "-c", "import os; os.abort()"], check=False, cwd="/tmp")
    works("crashing", lambda: done.returncode == -6)
    works("having none, as programs with secrets ask for", lambda: resource.setrlimit(_CORE, (0, 0)))
    hidden(
        "a core",
        lambda: [
            name for folder in ("/tmp", PROJECT) for name in os.listdir(folder) if name.startswith("core")
        ],
    )

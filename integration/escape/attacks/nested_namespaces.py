"""Make further namespaces: in a new user namespace all capabilities come back, and half of the kernel's bugs.

Source: user_namespaces(7); CVE-2022-0185, CVE-2023-32233, CVE-2024-1086.
"""

import os
import subprocess

from attempt import call, compiled, denied, run, works

_KINDS = {
    "USER": 0x10000000,
    "NS": 0x20000,
    "PID": 0x20000000,
    "NET": 0x40000000,
    "IPC": 0x8000000,
    "UTS": 0x4000000,
    "CGROUP": 0x2000000,
    "TIME": 0x80,
}
_CLONE3 = r"""
#define _GNU_SOURCE
#include <stdint.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <signal.h>
int main(void) { uint64_t a[8] = {0x10000000, 0, 0, 0, SIGCHLD}; return syscall(435, a, 64) < 0; }
"""


def inside():
    for name, flag in _KINDS.items():
        denied(f"unshare NEW{name}", lambda flag=flag: call("unshare", flag))
        if name != "TIME":
            denied(f"clone NEW{name}", lambda flag=flag: call("clone", flag | 17, 0, 0, 0, 0) or os._exit(0))
    denied("NEWUSER with others", lambda: call("unshare", 0x10020000))
    denied("high bits", lambda: call("unshare", 0x10000000 | 1 << 32))
    denied("clone3", lambda: run(compiled(_CLONE3)))
    denied(
        "the program unshare",
        lambda: subprocess.run(["unshare", "-Ur", "true"], check=True, capture_output=True),
    )
    for name in ("user", "mnt", "pid", "net"):
        denied(
            f"setns to one's own {name}",
            lambda name=name: call("setns", os.open(f"/proc/self/ns/{name}", os.O_RDONLY), 0),
        )
    works("a thread", lambda: __import__("threading").Thread(target=int).start() is None)
    works("unshare of descriptors", lambda: call("unshare", 0x400) == 0)

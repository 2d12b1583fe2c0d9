"""Gain privileges: set-user-id programs, capabilities, taking no_new_privs or the filter back.

Source: capabilities(7), prctl(2), CVE-2021-4034 (pkexec), CVE-2021-3156 (sudo).
"""

import ctypes
import os
import subprocess

from attempt import call, denied, hidden, works


def _capabilities():
    """Effective, permitted and inheritable ones; asked of the kernel, for not every isolation shows `/proc`."""
    header, found = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    call("capget", header, found)
    return any(found)


def inside():
    hidden("capabilities", _capabilities)
    works("no_new_privs is on", lambda: call("prctl", 39, 0, 0, 0, 0) == 1)
    hidden("the bounding set", lambda: [number for number in range(41) if call("prctl", 23, number, 0, 0, 0)])
    denied("taking it back", lambda: call("prctl", 38, 0, 0, 0, 0))
    denied("taking the filter back", lambda: call("prctl", 22, 0, 0, 0, 0))
    denied("PR_SET_MM", lambda: call("prctl", 35, 8, 4096, 0, 0))
    denied("ambient capability", lambda: call("prctl", 47, 2, 21, 0, 0))
    denied("securebits", lambda: call("prctl", 28, 0, 0, 0, 0))
    for number in (0, 1, 65534):
        denied(f"setuid {number}", lambda number=number: os.setresuid(number, number, number))
        denied(f"setgid {number}", lambda number=number: os.setresgid(number, number, number))
    denied("setgroups", lambda: os.setgroups([0]))
    for program in ("su", "sudo", "passwd", "mount", "pkexec", "newgrp", "chsh"):
        path = f"/usr/bin/{program}"
        if os.path.exists(path):
            hidden(f"{program} with its bit", lambda path=path: not os.statvfs(path).f_flag & os.ST_NOSUID)
    works(
        "an ordinary program",
        lambda: subprocess.run(["/usr/bin/id", "-u"], check=True, capture_output=True).stdout != b"0\n",
    )

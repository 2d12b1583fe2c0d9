"""Read and steer other processes: ptrace, process_vm_readv, pidfd_getfd, kcmp, against pid 1 and a sibling.

Source: ptrace(2), process_vm_readv(2), pidfd_getfd(2); CVE-2019-13272.
"""

import ctypes
import os
import subprocess
import time

from attempt import call, denied, works


def _read(pid):
    buffer = ctypes.create_string_buffer(8)
    local = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    remote = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    return call("process_vm_readv", pid, local, 1, remote, 1, 0)


def inside():
    sibling = subprocess.Popen(["sleep", "20"])
    time.sleep(0.05)
    for name, pid in (("init", 1), ("a sibling", sibling.pid)):
        denied(f"PTRACE_ATTACH to {name}", lambda pid=pid: call("ptrace", 16, pid, 0, 0))
        denied(f"PTRACE_SEIZE of {name}", lambda pid=pid: call("ptrace", 0x4206, pid, 0, 0))
        denied(f"process_vm_readv of {name}", lambda pid=pid: _read(pid))
        denied(f"kcmp of {name}", lambda pid=pid: call("kcmp", os.getpid(), pid, 0, 0, 0))
        denied(
            f"pidfd_getfd of {name}", lambda pid=pid: call("pidfd_getfd", call("pidfd_open", pid, 0), 0, 0)
        )
    works("a signal to the sibling", sibling.kill)
    works("its end", lambda: sibling.wait() == -9)

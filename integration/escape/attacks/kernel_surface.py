"""Use the kernel interfaces that exploits are made of.

Source: io_uring_setup(2), bpf(2), userfaultfd(2), perf_event_open(2); their CVE lists.
"""

import ctypes
import os

from attempt import call, denied, works


def inside():
    buffer = ctypes.create_string_buffer(256)
    denied("io_uring", lambda: call("io_uring_setup", 8, buffer))
    denied("bpf", lambda: call("bpf", 0, buffer, 72))
    denied("userfaultfd", lambda: call("userfaultfd", 1))
    denied(
        "perf_event_open",
        lambda: call(
            "perf_event_open",
            ctypes.create_string_buffer((1).to_bytes(4, "little") + (120).to_bytes(4, "little") + bytes(112)),
            0,
            -1,
            -1,
            0,
        ),
    )
    denied("fanotify", lambda: call("fanotify_init", 0x200, 0))
    denied("kexec", lambda: call("kexec_load", 0, 0, 0, 0))
    denied("a kernel module", lambda: call("init_module", buffer, 0, b""))
    denied("reboot", lambda: call("reboot", 0, 0, 0, 0))
    denied("the kernel's log", lambda: call("syslog", 3, buffer, 256))
    denied("swap", lambda: call("swapon", b"/tmp/x", 0))
    denied("accounting", lambda: call("acct", 0))
    denied("the clock", lambda: call("settimeofday", buffer, 0))
    denied("the host's name", lambda: call("sethostname", b"x", 1))
    denied("an odd personality", lambda: call("personality", 0x0400000))
    denied("openat2", lambda: call("openat2", -100, b"/", buffer, 24))
    works("the personality of debuggers", lambda: call("personality", 0x0040000) >= 0)
    works("epoll", lambda: __import__("select").epoll().close() is None)
    works("timers", lambda: os.times().elapsed)

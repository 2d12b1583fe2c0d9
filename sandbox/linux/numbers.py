"""System call numbers of the two architectures that the sandbox knows.

Source: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux 6.18.
Everything from 424 on has one number on all architectures.
"""

from __future__ import annotations

from sandbox.linux.constants import CALLS

COMMON = {
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "fspick": 433,
    "pidfd_open": 434,
    "clone3": 435,
    "pidfd_getfd": 438,
    "quotactl_fd": 443,
    "fchmodat2": 452,
    "open_tree_attr": 467,
}
LAST_KNOWN = 469
"""The highest number that was reviewed (`file_setattr`); what a newer kernel adds answers ENOSYS."""

X86_64 = {
    **CALLS["x86_64"],
    **COMMON,
    "open": 2,
    "socketpair": 53,
    "creat": 85,
    "chmod": 90,
    "fchmod": 91,
    "ptrace": 101,
    "syslog": 103,
    "mknod": 133,
    "uselib": 134,
    "personality": 135,
    "sched_setaffinity": 203,
    "vhangup": 153,
    "modify_ldt": 154,
    "chroot": 161,
    "acct": 163,
    "settimeofday": 164,
    "swapon": 167,
    "swapoff": 168,
    "reboot": 169,
    "setdomainname": 171,
    "iopl": 172,
    "ioperm": 173,
    "init_module": 175,
    "delete_module": 176,
    "quotactl": 179,
    "lookup_dcookie": 212,
    "clock_settime": 227,
    "kexec_load": 246,
    "add_key": 248,
    "request_key": 249,
    "openat": 257,
    "mknodat": 259,
    "fchmodat": 268,
    "perf_event_open": 298,
    "fanotify_init": 300,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "kcmp": 312,
    "finit_module": 313,
    "kexec_file_load": 320,
    "bpf": 321,
    "userfaultfd": 323,
}

AARCH64 = {
    **CALLS["aarch64"],
    **COMMON,
    "lookup_dcookie": 18,
    "mknodat": 33,
    "chroot": 51,
    "fchmod": 52,
    "fchmodat": 53,
    "openat": 56,
    "vhangup": 58,
    "quotactl": 60,
    "acct": 89,
    "personality": 92,
    "sched_setaffinity": 122,
    "kexec_load": 104,
    "init_module": 105,
    "delete_module": 106,
    "clock_settime": 112,
    "syslog": 116,
    "ptrace": 117,
    "reboot": 142,
    "setdomainname": 162,
    "settimeofday": 170,
    "socketpair": 199,
    "add_key": 217,
    "request_key": 218,
    "swapon": 224,
    "swapoff": 225,
    "perf_event_open": 241,
    "fanotify_init": 262,
    "name_to_handle_at": 264,
    "open_by_handle_at": 265,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "kcmp": 272,
    "finit_module": 273,
    "bpf": 280,
    "userfaultfd": 282,
    "kexec_file_load": 294,
}

TABLES = {"x86_64": X86_64, "aarch64": AARCH64}
"""By `uname -m`."""

"""Which system calls a payload is refused, and what they answer. Pure data and one function.

The list names what widens the kernel's surface or reaches across the sandbox's walls; everything else is
allowed, because a payload is an ordinary program. `assemble` refuses what is newer than this list.

Decisions that a reader would question:

* `clone3` answers ENOSYS: its flags lie in memory that a filter cannot read. The C libraries then use
  `clone`, whose flags are checked, so that threads and processes work.
* `openat2` answers ENOSYS for the same reason: its mode lies in memory, and callers have a fallback.
* `io_uring` answers ENOSYS: its requests pass by every filter, and callers have a fallback.
* `AF_NETLINK` is allowed for NETLINK_ROUTE alone: `getifaddrs` and the address sorting of `getaddrinfo`
  read interfaces through it. It shows the sandbox's own network namespace, and without a capability
  nothing can be changed. All other netlink families (audit, uevent, netfilter, generic) are refused.
* Leases and delegations (`F_SETLEASE`, `F_SETDELEG`) cannot be had: whoever opens the file on the host waits
  for the holder for 45 seconds (`/proc/sys/fs/lease-break-time`), again and again, and reading a file of the
  caller's is all that it takes. What serves files to other machines does without when it gets none.
* The limit of core dumps stays what the sandbox makes it, and setting it seems to work: programs that hold
  secrets set it to 0 and give up where they cannot. At 0 the kernel would start the host's handler all the
  same, as root and fed by the payload; 1 is the one value at which it does not.
* Of the protocols over IP those that programs use can be had. For others (SCTP, DCCP, L2TP, SMC) the kernel
  loads a module as soon as anybody asks, and so it does for pairs of other families' sockets. TLS in the
  kernel (`TCP_ULP`) has a history, too; TLS libraries do it themselves when it is refused.
* Set-user-id and set-group-id bits cannot be created: a file in a writable bind would carry them on the
  host, where the sandbox's `nosuid` no longer covers it.
"""

from __future__ import annotations

import errno

from sandbox.errors import UnsupportedError
from sandbox.linux import constants as c
from sandbox.linux.bpf import HasBits, IsGiven, IsNoneOf, IsOneOf, Rule, Test, assemble
from sandbox.linux.numbers import LAST_KNOWN, TABLES

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* of linux/audit.h by `uname -m`."""


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


DENIED = (
    # The mount tree: masks and read-only flags stay as they are.
    *_names("mount umount2 pivot_root chroot open_tree open_tree_attr move_mount mount_setattr setns"),
    *_names("fsopen fsconfig fsmount fspick"),
    # Other processes, and files by handle instead of by path.
    *_names("ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd name_to_handle_at open_by_handle_at"),
    # Large kernel interfaces with a history.
    *_names("bpf perf_event_open userfaultfd fanotify_init add_key request_key keyctl"),
    *_names("modify_ldt lookup_dcookie uselib ustat sysfs"),
    # The machine itself.
    *_names("kexec_load kexec_file_load init_module finit_module delete_module reboot swapon swapoff acct"),
    *_names("quotactl quotactl_fd settimeofday clock_settime sethostname setdomainname iopl ioperm syslog"),
    "vhangup",
)
"""Answered with EPERM."""

ABSENT = ("clone3", "openat2", "io_uring_setup", "io_uring_enter", "io_uring_register")
"""Answered with ENOSYS, see above."""

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16  # linux/socket.h
NETLINK_ROUTE = 0  # linux/netlink.h
IP_PROTOCOLS = (0, 1, 6, 17, 58, 255, 262)
"""The family's own choice, ICMP, TCP, UDP, ICMPv6, raw (which takes a capability) and MPTCP.

Source: linux/in.h, linux/in6.h.
"""
SOL_TCP, TCP_ULP = 6, 31  # linux/tcp.h
SET_ID_BITS = 0o6000  # S_ISUID | S_ISGID of linux/stat.h
CREATES = 0o100 | 0o20000000  # O_CREAT | __O_TMPFILE of asm-generic/fcntl.h
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0x40000, 0xFFFFFFFF)
"""PER_LINUX, PER_LINUX32, both with UNAME26, ADDR_NO_RANDOMIZE, and the query."""

CONDITIONAL: tuple[tuple[str, int, tuple[Test, ...]], ...] = (
    ("unshare", errno.EPERM, (HasBits(0, c.ANY_NAMESPACE | c.CLONE_NEWTIME),)),
    ("clone", errno.EPERM, (HasBits(0, c.ANY_NAMESPACE),)),
    ("ioctl", errno.EPERM, (IsOneOf(1, (c.TIOCSTI, c.TIOCLINUX, c.TIOCSETD)),)),
    ("fcntl", errno.EPERM, (IsOneOf(1, (c.F_SETLEASE, c.F_SETDELEG)),)),
    ("socket", errno.EAFNOSUPPORT, (IsNoneOf(0, (AF_UNIX, AF_INET, AF_INET6, AF_NETLINK)),)),
    ("socket", errno.EPROTONOSUPPORT, (IsOneOf(0, (AF_NETLINK,)), IsNoneOf(2, (NETLINK_ROUTE,)))),
    ("socket", errno.EPROTONOSUPPORT, (IsOneOf(0, (AF_INET, AF_INET6)), IsNoneOf(2, IP_PROTOCOLS))),
    ("socketpair", errno.EAFNOSUPPORT, (IsNoneOf(0, (AF_UNIX,)),)),
    ("setsockopt", errno.ENOPROTOOPT, (IsOneOf(1, (SOL_TCP,)), IsOneOf(2, (TCP_ULP,)))),
    ("setrlimit", 0, (IsOneOf(0, (c.RLIMIT_CORE,)),)),
    ("prlimit64", 0, (IsOneOf(1, (c.RLIMIT_CORE,)), IsGiven(2))),
    ("personality", errno.EPERM, (IsNoneOf(0, PERSONALITIES),)),
    ("chmod", errno.EPERM, (HasBits(1, SET_ID_BITS),)),
    ("fchmod", errno.EPERM, (HasBits(1, SET_ID_BITS),)),
    ("fchmodat", errno.EPERM, (HasBits(2, SET_ID_BITS),)),
    ("fchmodat2", errno.EPERM, (HasBits(2, SET_ID_BITS),)),
    ("creat", errno.EPERM, (HasBits(1, SET_ID_BITS),)),
    ("mknod", errno.EPERM, (HasBits(1, SET_ID_BITS),)),
    ("mknodat", errno.EPERM, (HasBits(2, SET_ID_BITS),)),
    ("open", errno.EPERM, (HasBits(1, CREATES), HasBits(2, SET_ID_BITS))),
    ("openat", errno.EPERM, (HasBits(2, CREATES), HasBits(3, SET_ID_BITS))),
)


def rules(machine: str, also_denied: tuple[str, ...] = ()) -> tuple[Rule, ...]:
    """The rules for one architecture; calls that it never had are left out."""
    numbers = TABLES[machine]
    denied = [Rule(numbers[name], errno.EPERM) for name in (*DENIED, *also_denied) if name in numbers]
    absent = [Rule(numbers[name], errno.ENOSYS) for name in ABSENT if name in numbers]
    conditional = [Rule(numbers[name], code, tests) for name, code, tests in CONDITIONAL if name in numbers]
    # The most frequent calls come first: they are the ones with conditions.
    return (*conditional, *absent, *denied)


def program(machine: str, also_denied: tuple[str, ...] = ()) -> bytes:
    """The seccomp program for `machine` as the kernel takes it. Raises: UnsupportedError."""
    if machine not in ARCHITECTURES:
        raise UnsupportedError(
            f"there is no system call filter for `{machine}`", hint="the sandbox runs on x86_64 and aarch64"
        )
    return assemble(ARCHITECTURES[machine], LAST_KNOWN, errno.ENOSYS, rules(machine, also_denied))

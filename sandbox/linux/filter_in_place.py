"""The system call filter of the Landlock rung: `seccomp.py` and what namespaces would have kept away.

Decisions that a reader would question:

* No `AF_UNIX` socket can be made, only pairs of connected ones. Landlock does not know who listens at a path,
  and behind a path there may be a Docker daemon, an agent that holds keys, or a session bus that starts
  programs for whoever asks. A filter cannot read the address, so there is none to connect with.
  Datagram pairs are denied too: a message can be addressed to any path.
* Without the caller's network there are no network sockets at all, not even for loopback: it is the host's.
* System V and POSIX queues, semaphores and shared memory are the host's, too.
* Extended attributes cannot be set: Landlock leaves them alone. `chmod`, `chown` and `utimensat` must work,
  so of these the rung promises nothing (`Guarantee.METADATA`).
* Limits and priorities can be set for the calling process only; other processes of the user are in sight.
  `sched_setaffinity` is let be: numerical libraries call it for their own threads.
"""

from __future__ import annotations

import errno

from sandbox.linux import seccomp
from sandbox.linux.bpf import HasBits, IsNoneOf, IsOneOf, Rule, Test, assemble
from sandbox.linux.numbers import LAST_KNOWN, TABLES

_FURTHER = {
    "x86_64": {
        "fremovexattr": 199,
        "fsetxattr": 190,
        "ioprio_set": 251,
        "lremovexattr": 198,
        "lsetxattr": 189,
        "mq_open": 240,
        "msgget": 68,
        "removexattr": 197,
        "sched_setattr": 314,
        "sched_setparam": 142,
        "sched_setscheduler": 144,
        "semget": 64,
        "setpriority": 141,
        "setxattr": 188,
        "shmat": 30,
        "shmget": 29,
    },
    "aarch64": {
        "fremovexattr": 16,
        "fsetxattr": 7,
        "ioprio_set": 30,
        "lremovexattr": 15,
        "lsetxattr": 6,
        "mq_open": 180,
        "msgget": 186,
        "removexattr": 14,
        "sched_setattr": 274,
        "sched_setparam": 118,
        "sched_setscheduler": 119,
        "semget": 190,
        "setpriority": 140,
        "setxattr": 5,
        "shmat": 196,
        "shmget": 194,
    },
}
"""Source: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h."""
_NEW = {"setxattrat": 463, "removexattrat": 466, "file_setattr": 469}
"""One number on all architectures."""

_DATAGRAM = 2  # SOCK_DGRAM; SOCK_RAW (3) is the same to AF_UNIX and has this bit too
_NOT_OURSELVES = IsNoneOf(0, (0,))
_EVERY_PROCESS_OF_A_USER = (2, 3)  # PRIO_USER of sys/resource.h, IOPRIO_WHO_USER of linux/ioprio.h

_CONDITIONAL: tuple[tuple[str, int, tuple[Test, ...]], ...] = (
    ("socketpair", errno.EACCES, (HasBits(1, _DATAGRAM),)),
    ("prlimit64", errno.EPERM, (_NOT_OURSELVES,)),
    ("sched_setparam", errno.EPERM, (_NOT_OURSELVES,)),
    ("sched_setscheduler", errno.EPERM, (_NOT_OURSELVES,)),
    ("sched_setattr", errno.EPERM, (_NOT_OURSELVES,)),
    ("setpriority", errno.EPERM, (IsNoneOf(1, (0,)),)),
    ("setpriority", errno.EPERM, (IsOneOf(0, _EVERY_PROCESS_OF_A_USER),)),
    ("ioprio_set", errno.EPERM, (IsNoneOf(1, (0,)),)),
    ("ioprio_set", errno.EPERM, (IsOneOf(0, _EVERY_PROCESS_OF_A_USER),)),
)
_SHARED = ("shmget", "shmat", "semget", "msgget", "mq_open")
_ATTRIBUTES = ("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr")


def program(machine: str, *, network: bool, denied: tuple[str, ...] = ()) -> bytes:
    """The seccomp program for `machine`; sockets of the caller's network only if `network`.

    `denied` names further calls, as with `seccomp.program`.

    Raises: UnsupportedError for a machine that the filter does not know.
    """
    seccomp.program(machine)  # Says what is wrong with a machine that is not known.
    numbers = {**TABLES[machine], **_FURTHER[machine], **_NEW}
    sockets = (IsOneOf(0, (seccomp.AF_UNIX, seccomp.AF_NETLINK)),) if network else ()
    rules = (
        Rule(numbers["socket"], errno.EACCES, sockets),
        *(Rule(numbers[name], code, tests) for name, code, tests in _CONDITIONAL),
        *(Rule(numbers[name], errno.EACCES) for name in _SHARED),
        *(Rule(numbers[name], errno.EOPNOTSUPP) for name in (*_ATTRIBUTES, "setxattrat", "removexattrat")),
        Rule(numbers["file_setattr"], errno.ENOSYS),
        *seccomp.rules(machine, denied),
    )
    return assemble(seccomp.ARCHITECTURES[machine], LAST_KNOWN, errno.ENOSYS, rules)

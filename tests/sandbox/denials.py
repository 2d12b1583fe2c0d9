"""`python -m tests.sandbox.denials KIND COMMAND...`: run a command on a host that denies namespaces.

Each kind is the real thing: the kernel itself refuses, for the reason that it would refuse elsewhere.

filter    a seccomp filter as container runtimes load it: no new user namespace, no mount API
landlock  the same, and no Landlock either, as with profiles from before Linux 5.13
sysctl    a user namespace in which `user.max_user_namespaces` is 0
masked    a process namespace whose `/proc` is partly covered, as unprivileged containers have it
"""

from __future__ import annotations

import errno
import os
import sys

from sandbox.linux import bpf, syscalls
from sandbox.linux import constants as c
from sandbox.linux.seccomp import ARCHITECTURES

NAMES = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
MOUNTS = ("mount", "umount2", "pivot_root", "open_tree", "move_mount", "mount_setattr", "fsopen", "fsmount")


def main() -> None:
    """Deny, then become the command."""
    kind, *command = sys.argv[1:]
    KINDS[kind]()
    os.execvp(command[0], command)


def load_filter(*further: str) -> None:
    """Deny what container runtimes deny to a process without CAP_SYS_ADMIN."""
    numbers = c.CALLS[syscalls.MACHINE]
    rules = [
        bpf.Rule(numbers["unshare"], errno.EPERM, (bpf.HasBits(0, c.CLONE_NEWUSER),)),
        bpf.Rule(numbers["clone"], errno.EPERM, (bpf.HasBits(0, c.CLONE_NEWUSER),)),
        bpf.Rule(435, errno.ENOSYS),  # clone3, as container runtimes answer it
        *(bpf.Rule(numbers[name], errno.EPERM) for name in (*MOUNTS, *further)),
    ]
    syscalls.prctl(c.PR_SET_NO_NEW_PRIVS, 1)
    architecture = ARCHITECTURES[syscalls.MACHINE]
    syscalls.install_filter(bpf.assemble(architecture, 0x3FFFFFFF, errno.ENOSYS, tuple(rules)))


def map_root() -> None:
    """Be root of the namespace that was just made."""
    for name, content in (("setgroups", "deny"), ("uid_map", IDS[0]), ("gid_map", IDS[1])):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as stream:  # noqa: PTH123
            stream.write(content)


IDS = (f"0 {os.geteuid()} 1", f"0 {os.getegid()} 1")


def forbid_by_sysctl() -> None:
    """Allow no further user namespace."""
    syscalls.unshare(c.CLONE_NEWUSER | c.CLONE_NEWNS)
    map_root()
    with open("/proc/sys/user/max_user_namespaces", "w", encoding="ascii") as stream:  # noqa: PTH123
        stream.write("0")


def mask_proc() -> None:
    """Cover a part of a `/proc` of our own; the kernel then lets nobody below mount a whole one."""
    syscalls.unshare(c.CLONE_NEWUSER | c.CLONE_NEWNS | c.CLONE_NEWPID)
    map_root()
    if pid := os.fork():
        _, status = os.waitpid(pid, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    syscalls.mount(None, "/", None, c.MS_REC | c.MS_PRIVATE)
    syscalls.mount("proc", "/proc", "proc", 0)
    syscalls.mount("/dev/null", "/proc/interrupts", None, 4096)  # MS_BIND
    syscalls.mount("tmpfs", "/proc/fs", "tmpfs", c.MS_RDONLY)


KINDS = {
    "filter": load_filter,
    "landlock": lambda: load_filter(*NAMES),
    "sysctl": forbid_by_sysctl,
    "masked": mask_proc,
}

if __name__ == "__main__":
    main()

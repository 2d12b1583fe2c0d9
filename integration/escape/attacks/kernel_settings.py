"""Change the kernel's settings, which the host's uid 0 owns even without a capability.

Source: core(5): `core_pattern` starts a program of the host; proc(5) sysrq-trigger; CVE-2022-0492.
"""

import os
from pathlib import Path

from attempt import denied, works

_SETTINGS = (
    "kernel/core_pattern",
    "kernel/modprobe",
    "kernel/hostname",
    "kernel/panic",
    "kernel/sysrq",
    "kernel/randomize_va_space",
    "vm/drop_caches",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "fs/binfmt_misc/register",
    "fs/suid_dumpable",
    "net/ipv4/ip_forward",
    "user/max_user_namespaces",
    "kernel/unprivileged_bpf_disabled",
    "kernel/yama/ptrace_scope",
    "kernel/ns_last_pid",
)
_OTHERS = (
    "/proc/sysrq-trigger",
    "/proc/mtrr",
    "/proc/irq/default_smp_affinity",
    "/proc/acpi/wakeup",
    "/proc/scsi/scsi",
    "/proc/kcore",
    "/proc/kmsg",
    "/proc/dynamic_debug/control",
    "/proc/latency_stats",
    "/sys/kernel/uevent_helper",
    "/sys/fs/cgroup/release_agent",
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/power/state",
    "/sys/kernel/debug/x",
    "/dev/mem",
    "/dev/kmsg",
    "/dev/kvm",
    "/dev/vda",
    "/dev/sda",
    "/dev/loop-control",
    "/dev/net/tun",
    "/dev/vsock",
    "/dev/uinput",
)


def inside():
    for name in _SETTINGS:
        denied(name, lambda name=name: os.open(f"/proc/sys/{name}", os.O_WRONLY))
        denied(f"{name}, replaced", lambda name=name: os.chmod(f"/proc/sys/{name}", 0o666))
    for path in _OTHERS:
        denied(path, lambda path=path: os.open(path, os.O_WRONLY))
    works("reading a setting", lambda: Path("/proc/sys/kernel/pid_max").read_text())
    works("one's own name", lambda: Path("/proc/self/comm").write_text("me"))

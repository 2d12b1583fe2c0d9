"""Operations that make `/dev` and `/proc`."""

from __future__ import annotations

import errno
import os

from sandbox.linux import constants as c
from sandbox.linux import mounts, syscalls
from sandbox.linux.context import Context

_NODES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
_TELLING = (
    "kcore keys key-users timer_list sched_debug latency_stats kmsg kallsyms kpagecount kpageflags "
    "kpagecgroup interrupts vmallocinfo slabinfo"
)
"""Files and directories of `/proc` that tell on the machine or on other processes."""
_CHANGING = "sysrq-trigger mtrr acpi asound bus fs irq scsi driver"
"""Those that change it: kernel uid 0 owns them even without any capability."""
MASKED = frozenset(f"{_TELLING} {_CHANGING}".split())
"""What is covered where this kernel has it."""
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def devices(context: Context) -> None:
    """Six harmless nodes of the host's, and a pty file system of the sandbox's own."""
    for name in _NODES:
        path = f"/dev/{name}"
        # Read-only concerns the node, which is the host's: uid 0 could take everybody's right to write to
        # `/dev/null`. Writing to the device itself is not the file system's business.
        mounts.bind(context, path, path, writable=False, optional=False, device=True, follow=True)
    for name, destination in _LINKS:
        mounts.symlink(context, f"/dev/{name}", destination)
    options = "newinstance,ptmxmode=0666,mode=620"
    mounts.mount_new(context, "/dev/pts", "devpts", c.MS_NOSUID | c.MS_NOEXEC, options)


def proc(context: Context) -> None:
    """A `/proc` of this process namespace; where an outer container's masks forbid one, none at all."""
    try:
        mounts.mount_new(context, "/proc", "proc", c.MS_NOSUID | c.MS_NODEV | c.MS_NOEXEC)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES, errno.EBUSY):
            raise
        os.chdir("/")
        return
    context.has_proc = True
    _forbid_third_namespace(context)
    _mask(context)
    mounts.file(context, _BOOT_ID, b"00000000-0000-0000-0000-000000000000\n", 0o444)
    mounts.read_only(context, "/proc/sys")


def _mask(context: Context) -> None:
    """Cover what tells on the machine or changes it, as far as this kernel has it.

    By `mount`, which takes a path where the newer calls take three turns: all of this is the kernel's own
    file system, in which nobody can put a link.
    """
    folder = f"{mounts.BUILD_AT}/proc"
    os.fchdir(context.covers)
    with os.scandir(folder) as entries:
        found = [
            (entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries if entry.name in MASKED
        ]
    for name, is_directory in found:
        path = f"{folder}/{name}"
        syscalls.mount(mounts.COVERS[is_directory], path, None, c.MS_BIND)
        mounts.check(path, mounts.CLOSED)
    os.chdir("/")


def _forbid_third_namespace(context: Context) -> None:
    """Let this user namespace have one child, which is the payload's, and that one none of its own."""
    directory = os.open("proc/sys/user", os.O_PATH | os.O_CLOEXEC, dir_fd=context.root)
    try:
        descriptor = os.open("max_user_namespaces", os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
        os.write(descriptor, b"1")
        os.close(descriptor)
        _leave_half(directory)
    finally:
        os.close(directory)


def _leave_half(directory: int) -> None:
    """Let the payload have half of what the caller may watch files with: the kernel counts for both together.

    Without that nobody of the caller's could watch anything, the guard of the next sandbox included.
    Source: `inc_ucount` in kernel/ucount.c; inotify(7), /proc/sys/fs/inotify.
    """
    for here, there in (
        ("max_inotify_instances", "max_user_instances"),
        ("max_inotify_watches", "max_user_watches"),
    ):
        try:
            source = os.open(f"../fs/inotify/{there}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
            allowed = int(os.read(source, 32))
            os.close(source)
            descriptor = os.open(here, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
            os.write(descriptor, b"%d" % max(1, allowed // 2))
            os.close(descriptor)
        except FileNotFoundError:
            continue  # A kernel that cannot watch files.

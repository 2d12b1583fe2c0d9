"""Operations of pid 1 that concern the process itself: memory, identity, network, host name."""

from __future__ import annotations

import errno
import os

from sandbox.linux import constants as c
from sandbox.linux import syscalls
from sandbox.linux.context import Context, fail


def scrub(context: Context) -> None:
    """Zero the argument and environment area, then read it back.

    Pid 1 is a copy of the process that forked it, so `/proc/1/cmdline` and `/proc/1/environ` inside would
    show the caller's. Being undumpable hides the second but not the first.
    Source: proc(5), fields 48 to 51 of `stat`.
    """
    fields = _read(context, "stat").rpartition(b")")[2].split()
    # The field after the command's name is number 3.
    argument_start, argument_end, environment_start, environment_end = (int(word) for word in fields[45:49])
    for start, end in ((argument_start, argument_end), (environment_start, environment_end)):
        if 0 < start < end:
            syscalls.zero_memory(start, end)
    for name in ("cmdline", "environ"):
        if _read(context, name).strip(b"\0"):
            raise fail("scrub", f"the caller's `{name}` could not be overwritten")


def _read(context: Context, name: str) -> bytes:
    """The whole of a file of this process's own `/proc` directory, through the host's `/proc`."""
    descriptor = os.open(f"self/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=context.host_proc)
    try:
        content = b""
        while block := os.read(descriptor, 16384):
            content += block
        return content
    finally:
        os.close(descriptor)


def own_status(context: Context) -> dict[bytes, bytes]:
    """What the kernel says about this process in one look, through the host's `/proc`.

    Every field that is asked for must be there: KeyError otherwise, and the set-up fails.
    Source: proc_pid_status(5).
    """
    pairs = (line.partition(b":") for line in _read(context, "status").splitlines())
    return {name: value.strip() for name, _, value in pairs}


def write_proc(context: Context, name: str, content: bytes) -> None:
    """Write a file of this process's own `/proc` directory in one call, through the host's `/proc`."""
    descriptor = os.open(f"self/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=context.host_proc)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def join_groups(context: Context) -> None:
    """Move into the control groups that were made for this sandbox, and check it. Source: cgroups(7)."""
    for entrance in context.given.entrances:
        os.write(entrance, b"0")
        os.close(entrance)
    if context.given.entrances:
        # Before the root is built this is still the host's `/proc`.
        with open("/proc/self/cgroup", "rb") as stream:  # noqa: PTH123 - no pathlib on this path
            joined = sum(line.rstrip().endswith(context.given.group) for line in stream)
        if joined != len(context.given.entrances):
            raise fail("control group", "the sandbox is not in its control group")


def map_ids(context: Context, user: int, group: int, outer_user: int, outer_group: int) -> None:
    """Map one user and one group and check them. Source: user_namespaces(7)."""
    write_proc(context, "setgroups", b"deny")
    write_proc(context, "uid_map", f"{user} {outer_user} 1".encode())
    write_proc(context, "gid_map", f"{group} {outer_group} 1".encode())
    if (os.getuid(), os.getgid()) != (user, group):
        raise fail("map_ids", f"the sandbox's user is {os.getuid()}:{os.getgid()}, not {user}:{group}")


def become_unprivileged(context: Context, user: int, group: int) -> None:
    """The operation `map_ids`: the caller becomes `user` and `group` inside.

    Supplementary groups of a privileged caller were dropped before the clone; those of an unprivileged one
    cannot be, and show inside as the overflow group.
    """
    context.host_proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    map_ids(context, user, group, context.outer_user, context.outer_group)


def keyring(_: Context) -> None:
    """Join a session keyring of our own; kernels without keyrings have nothing to leave behind."""
    try:
        syscalls.join_new_session_keyring()
    except OSError as error:
        # EPERM: an outer sandbox's filter denies the whole interface, to the payload too.
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise


def loopback(context: Context) -> None:
    """Bring `lo` up by ioctl and check that no other interface is. Source: netdevice(7)."""
    _require_own_network(context)
    syscalls.set_interface_flags("lo", syscalls.interface_flags("lo") | c.IFF_UP)
    _require_loopback_alone(context)


def egress(
    context: Context,
    required: tuple[bytes, ...],
    optional: tuple[bytes, ...],
    endpoints: tuple[tuple[str, int], ...],
) -> None:
    """Make the routes and listeners of a network allow-list, and go on when the supervisor serves them.

    The supervisor has imported everything before the clone: here there may be no file to import from.
    """
    import _socket

    from sandbox.linux.egress_namespace import SERVED, prepare_namespace, send_sockets

    _require_own_network(context)
    channel = _socket.socket(fileno=context.given.egress)
    try:
        send_sockets(channel, prepare_namespace(required, optional, endpoints))
        if channel.recv(1) != SERVED:
            raise fail("egress", "the supervisor does not serve the network allow-list")
    finally:
        channel.close()
    _require_loopback_alone(context)


def _require_own_network(context: Context) -> None:
    if os.stat("self/ns/net", dir_fd=context.host_proc).st_ino == context.host_net:
        raise fail("loopback", "the sandbox is still in the host's network")


def _require_loopback_alone(context: Context) -> None:
    # Two lines of headings, then `name: counters`. Kernels may put idle tunnel devices into every namespace.
    for line in _read(context, "net/dev").splitlines()[2:]:
        name = line.partition(b":")[0].strip().decode()
        if name != "lo" and syscalls.interface_flags(name) & c.IFF_UP:
            raise fail("loopback", f"the network interface `{name}` is up inside the sandbox")


def hostname(_: Context, name: str) -> None:
    """Set and check the host name."""
    syscalls.set_hostname(name)
    if os.uname().nodename != name:
        raise fail("hostname", f"the host name inside is `{os.uname().nodename}`, not `{name}`")

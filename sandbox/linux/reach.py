"""What a payload may open where nothing can be mounted: the rules behind the Landlock rung.

Landlock only adds: a right that holds for a folder holds for all that lies in it, and nothing can be taken
out again. So a folder with something protected in it is `hollow`: it gets no right to write of its own, and
neither do the folders between it and what is protected; what else lies in them gets one each. That also
keeps a protected path from being made where it does not exist, and it costs what cannot be told apart from
that: nothing new can be made in a hollow folder itself.

Pure: which folders are hollow is decided here, what lies in them is looked up when the rules are applied.
"""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.errors import UnsupportedError
from sandbox.linux import system
from sandbox.policy import Mount, MountKind, NetworkKind, Policy

SYSTEM, READ, WRITE, DEVICE = "system", "read", "write", "device"
"""Places of the policy are taken at their word; those of the system may be links, which only root changes."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    Rule = tuple[str, str, tuple[str, ...]]
    """(one of the above, path, what stays closed below it); all of it plain data."""

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
_SETTINGS = (
    "/etc/debian_version",
    "/etc/gai.conf",
    "/etc/gitconfig",
    "/etc/host.conf",
    "/etc/inputrc",
    "/etc/os-release",
    "/etc/terminfo",
)
"""Programs shrug their shoulders if these are not there, and some give up if they are and cannot be read."""
_ACCOUNTS = (
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/services",
    "/etc/protocols",
)
"""With namespaces these are written anew; here the machine's own are read, or no program finds its user."""
_MACHINE = (
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/version",
    "/proc/filesystems",
    "/proc/sys/kernel/cap_last_cap",
    "/proc/sys/kernel/ngroups_max",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/vm/overcommit_memory",
)
"""Of `/proc` what tells of the machine and of no process; runtimes size themselves by it."""


def rules(policy: Policy) -> tuple[Rule, ...]:
    """The rules for `policy`. Raises: UnsupportedError for a mount that only a mount namespace can make."""
    return tuple(_rules(policy))


def links(policy: Policy) -> tuple[tuple[str, str], ...]:
    """Symbolic links that lie in the policy's home: (path below it, destination)."""
    home = policy.home
    return tuple(
        (mount.target[len(home) + 1 :], mount.destination or "")
        for mount in policy.mounts
        if mount.kind is MountKind.SYMLINK and home is not None and mount.target.startswith(home + "/")
    )


def _rules(policy: Policy) -> Iterator[Rule]:
    if policy.system:
        network = policy.network.kind is not NetworkKind.NONE
        shown = (*system.MIRRORED, *system.SHOWN, *_ACCOUNTS, *_SETTINGS)
        for path in shown + (system.SHOWN_WITH_NETWORK if network else ()):
            yield (SYSTEM, path, ())
    for path in _MACHINE:
        yield (SYSTEM, path, ())
    for path in DEVICES:
        yield (DEVICE, path, ())
    for index, mount in enumerate(policy.mounts):
        yield from _mount(policy, index, mount)


def _mount(policy: Policy, index: int, mount: Mount) -> Iterator[Rule]:
    if mount.kind is MountKind.DEVICE:
        yield (DEVICE, mount.target, ())
    elif mount.kind is MountKind.BIND:
        if mount.source not in (None, mount.target):
            raise _impossible(index, mount, "shown under another name")
        yield (READ, mount.target, ())
        later = policy.mounts[index + 1 :]
        if mount.writable and not any(_closes(other) and _holds(other, mount) for other in later):
            closed = {other.target for other in later if _closes(other) and _holds(mount, other)}
            yield (WRITE, mount.target, tuple(sorted(closed)))
    elif mount.kind is MountKind.OVERLAY:
        raise _impossible(index, mount, "laid over each other")
    elif mount.kind in (MountKind.TMPFS, MountKind.FILE):
        raise _impossible(index, mount, "made in memory")
    # A link outside the home is the host's own, or leads nowhere; what is protected closes an earlier bind.


def _closes(mount: Mount) -> bool:
    """Whether what is mounted keeps the payload from writing at its place."""
    return mount.kind is MountKind.PROTECT or (mount.kind is MountKind.BIND and not mount.writable)


def _holds(outer: Mount, inner: Mount) -> bool:
    """Whether the place of `inner` is that of `outer` or lies below it."""
    return inner.target == outer.target or inner.target.startswith(outer.target.rstrip("/") + "/")


def _impossible(index: int, mount: Mount, what: str) -> UnsupportedError:
    return UnsupportedError(
        f"mounts[{index}].target: `{mount.target}` cannot be {what} without a mount namespace",
        hint="with the isolation `landlock` the payload sees the host's own files at their own places",
    )

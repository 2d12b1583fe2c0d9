"""Policy -> plan: everything is decided here, as plain data, before anything is forked. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from sandbox.errors import PolicyError
from sandbox.linux import constants as c
from sandbox.linux import operations as op
from sandbox.linux import seccomp, system
from sandbox.linux.context import PLAN_VERSION
from sandbox.policy import Limits, Mount, MountKind, NetworkKind, Policy, Terminal

INSIDE_ID = 1000
"""User and group inside, whoever the caller is: nothing is to be learned from it, and it is not root."""
ROOT_SIZE_BYTES = 64 << 20
"""The root holds mount points and synthesized files only, and becomes read-only."""
ROOT_INODES = 16384
SHARED_MEMORY_MODE = 0o1777

NO_CORE_BYTES = 1
"""A core would be written on the host: as a file if the limit allows it, which is none below a page; by the
host's handler at every limit but this one, 0 included. Source: `do_coredump` in fs/coredump.c of Linux."""

_NAMESPACES = (
    c.CLONE_NEWUSER | c.CLONE_NEWNS | c.CLONE_NEWPID | c.CLONE_NEWIPC | c.CLONE_NEWUTS | c.CLONE_NEWCGROUP
)
_LIMITS = {
    "cpu_seconds": c.RLIMIT_CPU,
    "file_size_bytes": c.RLIMIT_FSIZE,
    "open_files": c.RLIMIT_NOFILE,
}
"""The limits that the kernel keeps for each process."""
_OUTSIDE = ("memory_bytes", "processes", "cpus", "output_bytes", "cpu_seconds", "file_size_bytes")
"""Those that the supervisor keeps, and those whose signal it tells of."""


def compile_policy(policy: Policy, machine: str) -> op.Plan:
    """The plan that makes `policy` true on `machine` (as `uname -m` names it).

    Raises: PolicyError, UnsupportedError.
    """
    isolated = policy.network.kind is not NetworkKind.HOST
    environment = dict(policy.environment)
    if policy.home is not None:
        environment["HOME"] = policy.home
    return {
        "version": PLAN_VERSION,
        "machine": machine,
        "namespaces": _NAMESPACES | (c.CLONE_NEWNET if isolated else 0),
        "placeholders": tuple(_placeholders(policy)),
        "guarded": _guarded(policy),
        "init": tuple(_init(policy)),
        "beside": tuple(_beside(policy)),
        "payload": tuple(_payload(policy, machine)),
        "environment": environment,
        "wall_clock_seconds": policy.limits.wall_clock_seconds,
        "terminal": policy.terminal is Terminal.PTY,
        "temporary": tuple(_temporary(policy)),
        "outside": _outside(policy),
    }


def _temporary(policy: Policy) -> Iterator[str]:
    """The file systems in memory that the command may fill."""
    yield from ("/dev/shm", "/tmp")  # noqa: S108 - the sandbox's own
    if policy.home is not None:
        yield policy.home


def _init(policy: Policy) -> Iterator[op.Operation]:
    """What pid 1 does, in order."""
    size = policy.temporary_size_bytes
    yield op.map_ids(INSIDE_ID, INSIDE_ID)
    yield op.keyring()
    yield op.hostname(policy.hostname)
    yield op.root(ROOT_SIZE_BYTES, ROOT_INODES)
    if policy.system:
        yield from system.operations(policy, INSIDE_ID)
    yield op.devices()
    for path in _temporary(policy):
        yield op.tmpfs(path, size, 0o700 if path == policy.home else SHARED_MEMORY_MODE)
    yield op.placeholders()
    guarded = _guarded(policy)
    if guarded:
        yield op.watch(tuple(folder for folder, _ in guarded))
    for index, mount in enumerate(policy.mounts):
        yield from _mount(policy, index, mount)
    # After all others: nothing of the policy's may come to lie over a mask.
    yield op.proc()
    yield op.pivot()
    if guarded:
        yield op.share(tuple(_shared(policy)))


def _beside(policy: Policy) -> Iterator[op.Operation]:
    """What pid 1 does while the command's process restricts itself; the command starts after both."""
    yield op.scrub()
    if policy.network.kind is NetworkKind.NONE:
        yield op.loopback()
    elif policy.network.kind is NetworkKind.HOSTS:
        from sandbox.linux.egress import allow_list, namespace_plan

        plan = namespace_plan(allow_list(policy.network.allowed))
        yield op.egress(plan.required, plan.optional, plan.endpoints)


def _outside(policy: Policy) -> dict[str, Any]:
    """What the supervisor does besides watching; most policies want nothing."""
    wanted = outside_limits(policy.limits)
    if policy.network.kind is NetworkKind.HOSTS:
        wanted["network"] = {"allowed": policy.network.allowed, "networks": policy.network.networks}
    return wanted


def _payload(policy: Policy, machine: str) -> Iterator[op.Operation]:
    """What the command's process does, in order; the filter is last because it forbids all of this."""
    yield op.pty() if policy.terminal is Terminal.PTY else op.session()
    yield op.limits(resource_limits(policy.limits))
    yield op.confine(INSIDE_ID, INSIDE_ID)
    yield op.drop_privileges()
    yield op.landlock(tuple(_writable(policy)))
    yield op.enter()
    # A share of the processors may be kept by naming some of them; then no other may be chosen inside.
    denied = () if policy.limits.cpus is None else ("sched_setaffinity",)
    yield op.seccomp(seccomp.program(machine, denied))


def outside_limits(limits: Limits) -> dict[str, Any]:
    """The limits that the supervisor keeps or tells of: which means it has is found out on the host."""
    named = {item.name: getattr(limits, item.name) for item in fields(limits)}
    known = {name: value for name, value in named.items() if value is not None and name in _OUTSIDE}
    return {"limits": known} if known else {}


def resource_limits(limits: Limits) -> tuple[tuple[int, int], ...]:
    """No core dumps, then what the policy names."""
    named = ((number, getattr(limits, name)) for name, number in _LIMITS.items())
    return (
        (c.RLIMIT_CORE, NO_CORE_BYTES),
        *((number, int(value)) for number, value in named if value is not None),
    )


def _mount(policy: Policy, index: int, mount: Mount) -> Iterator[op.Operation]:
    """One mount of the policy."""
    target = mount.target
    if mount.kind in (MountKind.BIND, MountKind.DEVICE):
        device = mount.kind is MountKind.DEVICE
        source = mount.source or target
        # A device node is the host's own: its mode and owner stay, whoever may write to the device.
        writable = mount.writable and not device
        yield op.bind(source, target, writable=writable, optional=mount.optional, device=device)
    elif mount.kind is MountKind.OVERLAY:
        yield op.overlay(target, mount.layers)
    elif mount.kind is MountKind.TMPFS:
        yield op.tmpfs(target, mount.size_bytes or policy.temporary_size_bytes, 0o755)
    elif mount.kind is MountKind.FILE:
        yield op.file(target, mount.content, mount.mode)
    elif mount.kind is MountKind.SYMLINK:
        yield op.symlink(target, mount.destination or "")
    else:
        base = _covering(policy, index)
        if base is None or base.kind is MountKind.TMPFS:
            problem = (
                f"mounts[{index}].target: `{target}` lies in no earlier bind, so there is nothing to protect"
            )
            raise PolicyError(f"the sandbox policy is not acceptable: {problem}", details=(problem,))
        if base.writable:
            yield op.protect(base.target, _below(target, base.target))


def _placeholders(policy: Policy) -> Iterator[tuple[str, tuple[str, ...], bool | str, bool]]:
    """Every path inside a bind that something is mounted on, in terms of the host.

    A read-only bind needs them too, but for what is to be protected: nothing can be created there anyway.
    """
    for index, mount in enumerate(policy.mounts):
        base = _covering(policy, index)
        if base is None or base.kind is not MountKind.BIND or mount.optional:
            continue
        parts = _below(mount.target, base.target)
        masked = mount.kind is MountKind.PROTECT
        if not parts or mount.kind is MountKind.SYMLINK or (masked and not base.writable):
            continue
        is_directory: bool | str = mount.kind in (MountKind.OVERLAY, MountKind.TMPFS)
        if masked:
            is_directory = mount.directory
        elif mount.kind is MountKind.BIND:
            is_directory = mount.source or mount.target
        yield (base.source or base.target, parts, is_directory, not masked)


def _guarded(policy: Policy) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """Every name in a writable bind that only a mount keeps from being written, by its folder."""
    folders: dict[str, dict[str, str]] = {}
    for index, mount in enumerate(policy.mounts):
        base = _covering(policy, index)
        gives_away = base is not None and base.kind is MountKind.BIND and base.writable
        if not gives_away or base is None or mount.kind is MountKind.SYMLINK:
            continue
        folder, inside = base.source or base.target, base.target
        for part in _below(mount.target, base.target):
            inside = f"{inside}/{part}"
            folders.setdefault(folder, {})[part] = inside
            folder = f"{folder}/{part}"
    return tuple((folder, tuple(names.items())) for folder, names in folders.items())


def _shared(policy: Policy) -> Iterator[str]:
    """The mounts below which a protection may have to be renewed: the binds, and what was pinned in them."""
    found: dict[str, None] = {}
    for index, mount in enumerate(policy.mounts):
        base = _covering(policy, index)
        if base is None or base.kind is not MountKind.BIND or not base.writable:
            continue
        path = base.target
        found[path] = None
        if mount.kind is MountKind.PROTECT:
            for part in _below(mount.target, base.target)[:-1]:
                path = f"{path}/{part}"
                found[path] = None
    yield from found


def _covering(policy: Policy, index: int) -> Mount | None:
    """The earlier mount that the target of mount `index` lies in: the last one that is above it."""
    target = policy.mounts[index].target
    for earlier in reversed(policy.mounts[:index]):
        shows = earlier.kind not in (MountKind.SYMLINK, MountKind.FILE, MountKind.PROTECT)
        if shows and (target == earlier.target or target.startswith(earlier.target + "/")):
            return earlier
    return None


def _below(target: str, base: str) -> tuple[str, ...]:
    """The parts of `target` under `base`."""
    return tuple(part for part in target[len(base) :].split("/") if part)


def _writable(policy: Policy) -> Iterator[str]:
    """Where Landlock lets the payload write: the sandbox's own directories and the writable mounts."""
    yield from ("/tmp", "/dev", "/proc")  # noqa: S108
    if policy.home is not None:
        yield policy.home
    for mount in policy.mounts:
        if mount.kind is MountKind.TMPFS or (mount.kind is MountKind.BIND and mount.writable):
            yield mount.target

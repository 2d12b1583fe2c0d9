"""What is wrong with a policy, named by the paths of its fields. Pure, as policies are."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from sandbox.policy import (
    MAXIMUM_LAYERS,
    NEVER_A_SOURCE,
    NEVER_A_TARGET,
    NEVER_WRITABLE,
    Mount,
    MountKind,
    NetworkKind,
    Policy,
    _Network,
)


def problems_of(policy: Policy) -> tuple[str, ...]:
    """Everything that is wrong; what is of the wrong type cannot be asked anything else."""
    return tuple(_mistyped(policy)) or tuple(_problems(policy))


_SIMPLE: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "bytes": (bytes,),
    "int": (int,),
    "int | None": (int, type(None)),
    "float | None": (int, float, type(None)),
    "str": (str,),
    "str | None": (str, type(None)),
}
"""What values of a field may be, by its annotation."""


def _mistyped(policy: Policy) -> Iterator[str]:
    """Name every simple value of the wrong type: plain data may come from anywhere."""
    parts: list[tuple[str, Any]] = [("", policy), ("limits.", policy.limits)]
    parts += [(f"mounts[{index}].", mount) for index, mount in enumerate(policy.mounts)]
    for where, part in parts:
        for item in fields(part):
            value, allowed = getattr(part, item.name), _SIMPLE.get(str(item.type))
            if allowed and (
                not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)
            ):
                yield f"{where}{item.name}: must be `{item.type}`, not `{value!r:.60}`"
    for index, mount in enumerate(policy.mounts):
        yield from (
            f"mounts[{index}].layers: `{layer!r}` is no path"
            for layer in mount.layers
            if not isinstance(layer, str)
        )


def _problems(policy: Policy) -> Iterator[str]:
    """Name everything that is wrong with `policy`, by the path of its field."""
    for index, mount in enumerate(policy.mounts):
        yield from (f"mounts[{index}].{problem}" for problem in _mount_problems(mount))
    yield from _opened(policy.mounts)
    for index, (name, value) in enumerate(policy.environment):
        if not name or "=" in name or "\0" in name or "\0" in value or not _can_be_encoded(name + value):
            yield f"environment[{index}]: `{name}` is not a variable that an environment can hold"
    for item in fields(policy.limits):
        value = getattr(policy.limits, item.name)
        if value is not None and not 0 < value < float("inf"):
            yield f"limits.{item.name}: must be a number above zero, not `{value}`"
    if policy.temporary_size_bytes <= 0:
        yield "temporary_size_bytes: must be more than zero"
    if not policy.hostname or len(policy.hostname) > 64 or not policy.hostname.isascii():
        yield f"hostname: `{policy.hostname}` is not a host name of at most 64 ASCII characters"
    if policy.home is not None:
        yield from (f"home: {problem}" for problem in _path_problems(policy.home))
        if policy.home == "/" or _within(policy.home, NEVER_A_TARGET):
            yield f"home: `{policy.home}` belongs to the sandbox itself"
    yield from (f"network.{problem}" for problem in _network_problems(policy.network))
    if policy.network.kind is NetworkKind.HOSTS and "." in policy.hostname:
        yield f"hostname: `{policy.hostname}` has a dot, so programs would look names up in its domain"


def _opened(mounts: tuple[Mount, ...]) -> Iterator[str]:
    """Mounts that would uncover what an earlier one protects, by lying over it or inside it."""
    protected: list[str] = []
    for index, mount in enumerate(mounts):
        if mount.kind is MountKind.PROTECT:
            protected.append(mount.target)
        elif mount.writable or mount.kind is MountKind.TMPFS:
            for path in protected:
                if _within(path, (mount.target,)) or _within(mount.target, (path,)):
                    yield f"mounts[{index}].target: `{mount.target}` opens the protected `{path}` again"


def _network_problems(network: _Network) -> Iterator[str]:
    """What is wrong with a list of hosts; the names themselves are judged when the policy is compiled."""
    for index, (host, port) in enumerate(network.allowed):
        if not host or not 0 < port < 65536:
            yield f"allowed[{index}]: `{host}:{port}` is not a host and a port"
    if network.kind is NetworkKind.HOSTS and not network.allowed:
        yield "allowed: names no host"
    if network.networks:
        from ipaddress import ip_network
    for index, text in enumerate(network.networks):
        try:
            ip_network(text)
        except ValueError as error:
            yield f"networks[{index}]: {error}"


def _mount_problems(mount: Mount) -> Iterator[str]:
    """What is wrong with one mount; paths are relative to it."""
    yield from (f"target: {problem}" for problem in _path_problems(mount.target))
    if mount.target == "/":
        yield "target: `/` is the sandbox's own root"
    if mount.kind is not MountKind.DEVICE and _within(mount.target, NEVER_A_TARGET):
        yield f"target: `{mount.target}` belongs to the sandbox itself"
    if mount.kind is MountKind.DEVICE and not _within(mount.target, ("/dev",)):
        yield f"target: `{mount.target}` is not a device below `/dev`"
    sources = mount.layers if mount.source is None else (mount.source, *mount.layers)
    for source in sources:
        yield from (f"source: {problem}" for problem in _path_problems(source))
        if _within(source, NEVER_A_SOURCE):
            yield f"source: `{source}` is the host's own view of itself"
        if mount.writable and source in NEVER_WRITABLE:
            yield f"source: `{source}` must not be writable as a whole"
    if mount.kind is MountKind.OVERLAY and not 0 < len(mount.layers) <= MAXIMUM_LAYERS:
        yield f"layers: an overlay has 1 to {MAXIMUM_LAYERS} layers, not {len(mount.layers)}"
    if mount.kind is MountKind.SYMLINK and not mount.destination:
        yield "destination: a symbolic link must lead somewhere"
    if mount.kind in (MountKind.BIND, MountKind.DEVICE) and mount.source is None:
        yield "source: a bind must name what it shows"
    if mount.size_bytes is not None and mount.size_bytes <= 0:
        yield "size_bytes: must be more than zero"
    if mount.mode & ~0o777:
        yield f"mode: {mount.mode:o} has bits beyond rwxrwxrwx"


def _path_problems(path: str) -> Iterator[str]:
    """Paths are absolute and normal, so that what is compared is what is mounted."""
    if not path.startswith("/"):
        yield f"`{path}` is not an absolute path"
    elif posixpath.normpath(path) != path or path.startswith("//"):
        yield f"`{path}` is not a normal path (no `..`, `.`, doubled or trailing slash)"
    if not _can_be_encoded(path):
        yield f"`{path!r}` has characters that no file name can hold"
    if "\0" in path:
        yield "a path holds a NUL byte"


def _can_be_encoded(text: str) -> bool:
    """Whether the system can be told `text`. Source: PEP 383."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _within(path: str, roots: tuple[str, ...]) -> bool:
    """Whether `path` is one of `roots` or lies below one."""
    return any(path == root or path.startswith(root + "/") for root in roots)

"""What a run is allowed beyond the default, as data: from a profile, the command line, or both."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from sandbox import Guarantee, Isolation


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPort:
    """One place on the network that the payload may reach."""

    host: str
    """A name, `*.` before one, an address, or a private network that names may point into."""
    port: int | None = None
    """None: the ports that the web uses (80 and 443)."""

    def __str__(self) -> str:
        if self.port is None:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Everything that `run`, `shell`, builds and hooks can be given. A scalar that is None was not said."""

    allow_net: tuple[HostPort, ...] = ()
    allow_all_net: bool | None = None
    """The caller's own network. Takes precedence over `allow_net`."""
    allow_read: tuple[Path, ...] = ()
    """Absolute paths, visible read-only where they lie."""
    allow_write: tuple[Path, ...] = ()
    """Absolute paths, writable where they lie."""
    allow_env: tuple[str, ...] = ()
    """Names of the caller's variables, or prefixes that end in `*`. One that is not set stays not set."""
    allow_device: tuple[str, ...] = ()
    """`gpu`, or the path of a device node."""
    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = None
    timeout_seconds: float | None = None
    cpu_seconds: int | None = None
    file_size_bytes: int | None = None
    tmp_size_bytes: int | None = None
    """Of `/tmp`, of `/dev/shm` and of the home inside, each."""
    output_bytes: int | None = None
    read_only: bool | None = None
    """The project itself is read-only too."""
    require: tuple[Guarantee, ...] = ()
    isolation: Isolation | None = None
    """None: the strongest that the host has. A weaker one is only ever used when it is named."""

    @property
    def in_place(self) -> bool:
        """Whether nothing can be mounted, so that the environment must lie on disk."""
        if self.isolation is None:
            return sys.platform != "linux"
        return self.isolation.in_place


def merge(base: RunOptions, over: RunOptions) -> RunOptions:
    """Put `over` (flags) on top of `base` (a profile): lists add up, a scalar that was said replaces.

    Lists add because a flag is there to grant one thing more for one run; there is no flag that takes a
    grant of the profile away, for that is what another profile is for.
    """
    changes: dict[str, Any] = {}
    for field in fields(RunOptions):
        below, above = getattr(base, field.name), getattr(over, field.name)
        if isinstance(below, tuple):
            changes[field.name] = below + tuple(item for item in above if item not in below)
        elif above is not None:
            changes[field.name] = above
    return replace(base, **changes)


def grants(options: RunOptions) -> tuple[str, ...]:
    """Say in one line each what these options open, so that the output can show a project's own grants."""
    lines: list[str] = []
    if options.isolation not in (None, Isolation.NAMESPACES):
        lines.append(f"isolation is weakened to `{options.isolation.value}`")
    if options.allow_all_net:
        lines.append("the network of this machine")
    elif options.allow_net:
        lines.append("network to " + ", ".join(f"`{place}`" for place in options.allow_net))
    lines += [f"reading {_place(path)}" for path in options.allow_read]
    lines += [f"writing {_place(path)}" for path in options.allow_write]
    lines += [f"the variable `{name}`" for name in options.allow_env]
    lines += [f"the device `{name}`" for name in options.allow_device]
    return tuple(lines)


def _place(path: Path) -> str:
    """A path, and where its links lead: that is what is opened."""
    real = path.resolve()
    return f"`{path}`" if real == path else f"`{path}`, which leads to `{real}`"


def raised_limits(options: RunOptions) -> tuple[str, ...]:
    """Say in one line each which limits these options set, of those that hold without being asked for."""
    told = {"`/tmp`, `/dev/shm` and a home": options.tmp_size_bytes, "files": options.file_size_bytes}
    return tuple(
        f"{name} of up to {size / (1 << 20):,.0f} MiB" for name, size in told.items() if size is not None
    )

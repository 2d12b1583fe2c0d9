"""What a payload may see and use, as frozen data. Pure: nothing here touches the host.

A `Policy` that exists is well formed: malformed and dangerous ones are refused when they are made, with
every problem named by the path of its field.
"""

from __future__ import annotations

import base64
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sandbox.errors import PolicyError

MAXIMUM_LAYERS = 500
"""OVL_MAX_STACK of fs/overlayfs."""
NEVER_WRITABLE = frozenset(
    [
        "/",
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/home",
        "/lib",
        "/lib32",
        "/lib64",
        "/opt",
        "/proc",
        "/root",
        "/run",
        "/sbin",
        "/sys",
        "/usr",
        "/var",
    ]
)
"""Host directories that no policy may hand out for writing as a whole."""
NEVER_A_SOURCE = ("/proc", "/sys")
"""The host's own views of its processes and devices; a sandbox gets its own or none."""
NEVER_A_TARGET = ("/proc", "/sys", "/dev")
"""Built by the sandbox itself; a mount there could uncover what was masked."""


class MountKind(enum.Enum):
    """How a mount comes about."""

    BIND = "bind"
    DEVICE = "device"
    OVERLAY = "overlay"
    TMPFS = "tmpfs"
    FILE = "file"
    SYMLINK = "symlink"
    PROTECT = "protect"


class Terminal(enum.Enum):
    """How the payload is attached to the caller's terminal."""

    DETACHED = "detached"
    """A session of its own; descriptors 0, 1 and 2 are the caller's, byte for byte."""
    PTY = "pty"
    """A pseudo-terminal inside and a relay outside: job control, window size, no typing into the caller."""


class Isolation(enum.Enum):
    """How strong a backend is. Weaker ones are only ever asked for by name."""

    NAMESPACES = "namespaces"
    LANDLOCK = "landlock"
    """For hosts that deny user namespaces: the host's own files at their own places, less promised."""
    SEATBELT = "seatbelt"
    """The strongest of macOS."""
    JOB = "job"
    """The strongest of Windows: no orphan and fewer rights, never hermetic."""
    NONE = "none"

    @property
    def in_place(self) -> bool:
        """Whether the payload sees the host's own files: nothing is mounted, so paths cannot be chosen."""
        return self is not Isolation.NAMESPACES


class Guarantee(enum.Enum):
    """What a backend can enforce; `Policy.require` lists what this command insists on."""

    FILESYSTEM = "filesystem"
    """No file is read, written, listed, made or removed but those that the policy shows."""
    METADATA = "metadata"
    """Nor can it be found out that it exists, or its mode, owner, times and attributes be changed."""
    NETWORK = "network"
    PROCESSES = "processes"
    IPC = "ipc"
    SYSCALLS = "syscalls"
    TERMINAL = "terminal"
    ENVIRONMENT = "environment"


class NetworkKind(enum.Enum):
    """See `Network`."""

    NONE = "none"
    HOSTS = "hosts"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class _Network:
    kind: NetworkKind
    allowed: tuple[tuple[str, int], ...] = ()
    """Pairs of host and TCP port, for `HOSTS` only. A host is a name, `*.` before one, or an address."""
    networks: tuple[str, ...] = ()
    """Private networks (CIDR) that allowed names may point into; else only public addresses are dialled."""

    def to_plain(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "kind": self.kind.value,
            "allowed": [list(pair) for pair in self.allowed],
            "networks": list(self.networks),
        }


class Network(_Network):
    """`Network.NONE` is loopback only, `Network.HOST` the caller's network, `Network.hosts(...)` a list."""

    __slots__ = ()
    NONE: Network
    HOST: Network

    @classmethod
    def hosts(cls, *allowed: tuple[str, int], networks: tuple[str, ...] = ()) -> Network:
        """Only these pairs of host and port; their names may point into the private `networks`, too."""
        return cls(NetworkKind.HOSTS, tuple(allowed), tuple(networks))

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Network:
        """The inverse of `to_plain`."""
        return cls(
            NetworkKind(plain["kind"]),
            tuple((str(h), int(p)) for h, p in plain["allowed"]),
            tuple(str(network) for network in plain.get("networks", ())),
        )


Network.NONE = Network(NetworkKind.NONE)
Network.HOST = Network(NetworkKind.HOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the payload may use; None leaves the caller's own limit in place. See `docs/limits.md`."""

    wall_clock_seconds: float | None = None
    """Kept by the supervisor: everything inside is killed and the status says `timed_out`."""
    memory_bytes: int | None = None
    """Of all processes and temporary files together, in a control group; where none can be made, the address
    space of each process (`RLIMIT_AS`)."""
    processes: int | None = None
    """Processes and threads together, in a control group or by `RLIMIT_NPROC`, which does not bind root."""
    cpus: float | None = None
    """Processors' worth of time: a quota in a control group, or for a whole number that many processors."""
    cpu_seconds: int | None = None
    """Of each process (`RLIMIT_CPU`); SIGXCPU ends it."""
    file_size_bytes: int | None = None
    """Largest file that may be written (`RLIMIT_FSIZE`); SIGXFSZ ends who writes more."""
    open_files: int | None = None
    """Descriptors of each process (`RLIMIT_NOFILE`)."""
    output_bytes: int | None = None
    """What may be written to standard output and error together; the pipes are closed then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One entry of the file system inside. Make one with the class methods; the order in a policy counts."""

    kind: MountKind
    target: str
    """Absolute, normal path inside."""
    source: str | None = None
    writable: bool = False
    optional: bool = False
    """A source that does not exist on the host is left out instead of failing."""
    layers: tuple[str, ...] = ()
    size_bytes: int | None = None
    content: bytes = b""
    mode: int = 0o444
    destination: str | None = None
    directory: bool = False

    @classmethod
    def bind(
        cls, source: str, target: str | None = None, *, writable: bool = False, optional: bool = False
    ) -> Mount:
        """Show a host file or directory, read-only unless `writable`, under `target` (the same path)."""
        where = source if target is None else target
        return cls(kind=MountKind.BIND, source=source, target=where, writable=writable, optional=optional)

    @classmethod
    def device(cls, path: str, *, optional: bool = False) -> Mount:
        """Hand a device node of the host through under its own path, for instance a GPU's."""
        return cls(kind=MountKind.DEVICE, source=path, target=path, writable=True, optional=optional)

    @classmethod
    def overlay(cls, target: str, layers: Sequence[str]) -> Mount:
        """Show several host directories as one read-only tree, the topmost layer first."""
        return cls(kind=MountKind.OVERLAY, target=target, layers=tuple(layers))

    @classmethod
    def tmpfs(cls, target: str, *, size_bytes: int | None = None) -> Mount:
        """An empty writable directory in memory."""
        return cls(kind=MountKind.TMPFS, target=target, size_bytes=size_bytes)

    @classmethod
    def file(cls, target: str, content: bytes, mode: int = 0o444) -> Mount:
        """A read-only file that exists only inside."""
        return cls(kind=MountKind.FILE, target=target, content=content, mode=mode)

    @classmethod
    def symlink(cls, target: str, destination: str) -> Mount:
        """A symbolic link `target -> destination` that exists only inside."""
        return cls(kind=MountKind.SYMLINK, target=target, destination=destination)

    @classmethod
    def protect(cls, target: str, *, directory: bool = False) -> Mount:
        """Make a path inside an earlier writable bind read-only, and if it is missing, impossible to create.

        A missing path is masked by something empty: a file, or a directory if `directory`.
        """
        return cls(kind=MountKind.PROTECT, target=target, directory=directory)

    def to_plain(self) -> dict[str, Any]:
        """As plain data; only what differs from the default."""
        plain: dict[str, Any] = {"kind": self.kind.value, "target": self.target}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name not in plain and value != item.default:
                plain[item.name] = list(value) if isinstance(value, tuple) else value
        if self.content:
            plain["content"] = base64.b64encode(self.content).decode("ascii")
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Mount:
        """The inverse of `to_plain`."""
        values = dict(plain)
        values["kind"] = MountKind(values["kind"])
        values["layers"] = tuple(values.get("layers", ()))
        values["content"] = base64.b64decode(values.get("content", ""))
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything that decides what a payload can see, use and reach.

    Raises: PolicyError, with every problem, if the policy is malformed or dangerous.
    """

    mounts: tuple[Mount, ...] = ()
    """Applied in order after the system's own; a later one may lie inside an earlier one."""
    network: Network = Network.NONE
    environment: tuple[tuple[str, str], ...] = ()
    """The payload's whole environment but for `HOME`, which `home` sets."""
    limits: Limits = field(default_factory=Limits)
    terminal: Terminal = Terminal.DETACHED
    hostname: str = "sandbox"
    home: str | None = None
    """Path inside of an empty writable directory in memory; `HOME` names it."""
    system: bool = True
    """Show `/usr`, the `/bin` and `/lib*` links and a chosen part of `/etc`, read-only."""
    temporary_size_bytes: int = 1 << 30
    """Size of the private `/tmp`, and of every tmpfs that names no size of its own."""
    require: frozenset[Guarantee] = frozenset()
    """What must be enforced even if a weaker isolation is asked for by name."""
    isolation: Isolation | None = None
    """Ask for one backend by name; None takes the strongest and never a weaker one silently."""

    def __post_init__(self) -> None:
        from sandbox.validity import problems_of  # It knows the types of this module.

        problems = problems_of(self)
        if problems:
            raise PolicyError("the sandbox policy is not acceptable: " + problems[0], details=problems)

    def to_plain(self) -> dict[str, Any]:
        """As plain data that JSON and TOML can hold."""
        return {
            "mounts": [mount.to_plain() for mount in self.mounts],
            "network": self.network.to_plain(),
            "environment": [list(pair) for pair in self.environment],
            "limits": {f.name: getattr(self.limits, f.name) for f in fields(self.limits)},
            "terminal": self.terminal.value,
            "hostname": self.hostname,
            "home": self.home,
            "system": self.system,
            "temporary_size_bytes": self.temporary_size_bytes,
            "require": sorted(item.value for item in self.require),
            "isolation": None if self.isolation is None else self.isolation.value,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Policy:
        """The inverse of `to_plain`. Raises: PolicyError for a key that no policy has, or a bad value."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(plain) - known)
        if unknown:
            problems = tuple(f"{key}: no such key" for key in unknown)
            raise PolicyError(f"the sandbox policy is not acceptable: {problems[0]}", details=problems)
        values = dict(plain)
        try:
            _revive(values)
            return cls(**values)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise PolicyError(f"the sandbox policy is not acceptable: {error}") from error


def _revive(values: dict[str, Any]) -> None:
    """Turn plain values into the types of the fields, in place."""
    revivers: dict[str, Any] = {
        "mounts": lambda value: tuple(Mount.from_plain(item) for item in value),
        "network": Network.from_plain,
        "environment": lambda value: tuple((str(k), str(v)) for k, v in value),
        "limits": lambda value: Limits(**value),
        "terminal": Terminal,
        "require": lambda value: frozenset(Guarantee(item) for item in value),
        "isolation": lambda value: None if value is None else Isolation(value),
    }
    for key, revive in revivers.items():
        if key in values:
            values[key] = revive(values[key])

"""A policy as a seatbelt profile: pure text, so that it is tested on every platform.

The last rule that matches decides, so what is protected comes after what is allowed around it. Nothing is
mounted: the payload sees the host's own files at their own places.

Source: sandbox-exec(1), sandbox(7); the profiles in /System/Library/Sandbox/Profiles; Apple's sandbox guide
(reverse engineered, 1.0, 2011), for the language.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from sandbox.errors import PolicyError, UnsupportedError
from sandbox.policy import Mount, MountKind, NetworkKind, Policy

SYSTEM = (
    "/bin",
    "/sbin",
    "/usr/bin",
    "/usr/lib",
    "/usr/libexec",
    "/usr/sbin",
    "/usr/share",
    "/System/Cryptexes",
    "/System/Library",
    "/System/Volumes/Preboot/Cryptexes",
    "/Library/Apple",
    "/Library/Developer/CommandLineTools",
    "/private/etc/ssl",
    "/private/etc/localtime",
    "/private/var/db/timezone",
)
"""Programs, libraries, certificates, time zones; nothing of a user."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/dtracehelper")
_ACCOUNTS = "com.apple.system.opendirectoryd.libinfo"
"""Who answers getpwuid(3)."""
_NAMES = "/private/var/run/mDNSResponder"
"""Who answers getaddrinfo(3)."""


def profile(policy: Policy, *, private: str) -> str:
    """The profile for `policy`; `private` is a folder of the payload's own, with home and temporary files.

    Paths are taken literally: seatbelt compares what the kernel has resolved, so links must be resolved
    before (`/tmp` is `/private/tmp`).

    Raises: UnsupportedError for a mount or a network that a profile cannot make, PolicyError for a path
    that cannot be written in one.
    """
    return "\n".join(_lines(policy, private)) + "\n"


def quote(text: str) -> str:
    """A string of the profile's language. Raises: PolicyError for control characters."""
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        problem = f"{text!r} holds a control character, which no seatbelt profile can name"
        raise PolicyError(f"the sandbox policy is not acceptable: {problem}", details=(problem,))
    # The backslash first: otherwise the ones that guard quotes would be doubled.
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _lines(policy: Policy, private: str) -> Iterator[str]:
    yield "(version 1)"
    yield "(deny default)"
    yield "(allow process-fork)"
    yield "(allow signal (target same-sandbox))"
    yield "(allow process-info* (target same-sandbox))"
    yield "(allow sysctl-read)"
    yield f"(allow mach-lookup (global-name {quote(_ACCOUNTS)}))"
    shown = [mount for mount in policy.mounts if mount.kind is MountKind.BIND]
    readable = [*(SYSTEM if policy.system else ()), private, *(mount.target for mount in shown)]
    # The loader looks at the root, and every path is walked from there.
    yield f"(allow file-read* (literal {quote('/')}))"
    yield _rule("allow file-read-metadata", "literal", _ancestors(readable))
    if policy.system:
        yield _rule("allow file-read* process-exec*", "subpath", SYSTEM)
    yield _rule("allow file-read* file-write-data file-ioctl", "literal", DEVICES)
    yield _rule("allow file-read* file-write-data", "subpath", ("/dev/fd",))
    yield _rule("allow file-read* file-write* process-exec*", "subpath", (private,))
    for index, mount in enumerate(policy.mounts):
        yield from _mount(index, mount, shown)
    yield from _network(policy)


def _mount(index: int, mount: Mount, shown: list[Mount]) -> Iterator[str]:
    if mount.kind is MountKind.BIND:
        if mount.source not in (None, mount.target):
            raise _impossible(index, mount, "shown under another name")
        writing = " file-write*" if mount.writable else ""
        yield _rule(f"allow file-read*{writing} process-exec*", "subpath", (mount.target,))
        if not mount.writable:
            yield _rule("deny file-write*", "subpath", (mount.target,))
    elif mount.kind is MountKind.PROTECT:
        yield _rule("deny file-write*", "subpath", (mount.target,))
        # Nor may a folder above it be renamed away together with it.
        bases = [bind.target for bind in shown if mount.target.startswith(bind.target + "/")]
        if bases:
            above = [path for path in _ancestors((mount.target,)) if path.startswith(min(bases, key=len))]
            yield _rule("deny file-write-unlink", "literal", above)
    elif mount.kind is MountKind.DEVICE:
        yield _rule("allow file-read* file-write-data file-ioctl", "literal", (mount.target,))
    elif mount.kind is not MountKind.SYMLINK:
        raise _impossible(index, mount, "mounted")


def _network(policy: Policy) -> Iterator[str]:
    if policy.network.kind is NetworkKind.HOSTS:
        raise UnsupportedError(
            "seatbelt knows this machine and everything, but no list of hosts",
            hint="use `Network.NONE`, or `Network.HOST` for the whole of the caller's network",
        )
    if policy.network.kind is NetworkKind.HOST:
        yield "(allow system-socket)"
        yield '(allow network* (local ip "*:*") (remote ip "*:*"))'
        yield f"(allow network-outbound (literal {quote(_NAMES)}))"


def _rule(action: str, kind: str, paths: Iterable[str]) -> str:
    filters = " ".join(f"({kind} {quote(path)})" for path in paths)
    return f"({action} {filters})"


def _ancestors(paths: Iterable[str]) -> list[str]:
    """Every folder above the paths, sorted; the paths themselves left out."""
    found: set[str] = set()
    for path in paths:
        above = posixpath.dirname(path)
        while above not in found:
            found.add(above)
            above = posixpath.dirname(above)
    return sorted(found)


def _impossible(index: int, mount: Mount, what: str) -> UnsupportedError:
    return UnsupportedError(
        f"mounts[{index}].target: `{mount.target}` cannot be {what} on macOS",
        hint="without mounts the payload sees the host's own files at their own places",
    )

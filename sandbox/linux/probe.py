"""What this host can enforce, found out by doing it in throw-away sandboxes, stage by stage, and why not.

The answer holds until the next boot or change of the kernel's settings, so it can be kept in a folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import asdict, fields, replace
from functools import cache
from pathlib import Path

from sandbox.command import Command
from sandbox.errors import SandboxError
from sandbox.host import Host
from sandbox.linux import causes, syscalls
from sandbox.linux.backend import Namespaces
from sandbox.linux.in_place import InPlace
from sandbox.policy import Mount, Policy

_FORMAT = 1
"""Raised whenever the meaning of a kept answer changes."""
_SETTINGS = (
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_unconfined",
    "/proc/self/attr/current",
    "/proc/self/uid_map",
)
"""What decides over namespaces and can change while the machine runs, or differ between two processes."""


def probe(memory: Path | None = None) -> Host:
    """Try the real thing; takes some tens of milliseconds, and is kept for this process.

    With a folder as `memory`, the answer is also kept there for other processes until the next boot. A
    memory that cannot be read or written costs time, nothing else.
    """
    if memory is None:
        return _probe()
    key = _key()
    path = memory / f"host-{os.geteuid()}.json"
    if (known := _recall(path, key)) is not None:
        return known
    host = _probe()
    _keep(path, key, host)
    return host


@cache
def _probe() -> Host:
    system = os.uname()
    host = Host(
        platform=sys.platform,
        machine=system.machine,
        kernel=system.release,
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
        namespaces=False,
    )
    return _with_namespaces(_with_landlock(host))


def _with_namespaces(host: Host) -> Host:
    try:
        process_view = _namespaced(Policy(), "/proc/self/stat")
        host = replace(host, namespaces=True, process_view=process_view)
        layers = Mount.overlay("/layers", ("/usr/bin", "/usr/lib"))
        return replace(host, overlay=_namespaced(Policy(mounts=(layers,)), "/layers"))
    except (SandboxError, OSError) as error:
        stage, number = getattr(error, "stage", "start"), getattr(error, "errno", 0) or 0
        hint = getattr(error, "hint", None) or causes.mend(stage, number)
        return replace(host, failed_stage=stage, cause=str(error), mend=hint)


def _with_landlock(host: Host) -> Host:
    host = replace(host, landlock_abi=syscalls.landlock_abi())
    try:
        status = InPlace().spawn(Policy(), Command(argv=("/usr/bin/test", "-e", "/"))).wait()
        if status.returncode == 0:
            return replace(host, landlock=True)
        return replace(host, landlock_cause=f"a program in it ended with {status.returncode}")
    except (SandboxError, OSError) as error:
        return replace(host, landlock_cause=str(error))


def _namespaced(policy: Policy, path: str) -> bool:
    """Whether `path` is there inside. Raises: SandboxError if there is no inside."""
    command = Command(argv=("/usr/bin/test", "-e", path))
    return Namespaces().spawn(policy, command).wait().returncode == 0


def _key() -> list[str]:
    """Everything that an answer depends on."""
    system = os.uname()
    with contextlib.suppress(OSError):
        filtered = causes.is_filtered()
        return [
            str(_FORMAT),
            _read("/proc/sys/kernel/random/boot_id"),
            system.release,
            sys.executable,
            str(os.geteuid()),
            str(filtered),
            *(_read(path) for path in _SETTINGS),
        ]
    return []


def _recall(path: Path, key: list[str]) -> Host | None:
    """A kept answer, if it was kept by this user for this boot and these settings."""
    try:
        if path.stat().st_uid != os.geteuid():
            return None
        kept = json.loads(path.read_bytes())
        if not key or kept["key"] != key or set(kept["host"]) != {item.name for item in fields(Host)}:
            return None
        return Host(**kept["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(path: Path, key: list[str], host: Host) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside.write_text(json.dumps({"key": key, "host": asdict(host)}), "utf-8")
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()


def _read(path: str) -> str:
    """A kernel file, empty where there is none or it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:  # noqa: PTH123 - a kernel file
            return stream.read().strip()
    except OSError:
        return ""

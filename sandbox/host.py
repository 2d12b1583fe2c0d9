"""What this host can enforce, found out by doing it once in a throw-away sandbox, and why not.

The answer holds until the next boot or change of the kernel's settings; whoever asks often keeps it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from functools import cache

from sandbox.command import Command
from sandbox.errors import SandboxError, SetupError
from sandbox.policy import Mount, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The result of a probe."""

    platform: str
    machine: str
    kernel: str
    boot_id: str
    """Key under which a probe may be kept."""
    namespaces: bool
    """Whether the namespaces backend works here, from the clone to the executed command."""
    process_view: bool = False
    """Whether a `/proc` of its own can be mounted; an outer container's masks may forbid it."""
    overlay: bool = False
    """Whether trees can be laid over each other without a copy."""
    landlock_abi: int = 0
    failed_stage: str | None = None
    cause: str | None = None
    mend: str | None = None


@cache
def probe() -> Host:
    """Try the real thing, stage by stage; takes some tens of milliseconds and is kept for this process."""
    system = os.uname()
    host = Host(
        platform=sys.platform,
        machine=system.machine,
        kernel=system.release,
        boot_id=_boot_id(),
        namespaces=False,
    )
    try:
        from sandbox.linux.syscalls import landlock_abi

        process_view = _try(Policy(), "/proc/self/stat")
        host = replace(host, namespaces=True, process_view=process_view, landlock_abi=landlock_abi())
        layers = Mount.overlay("/layers", ("/usr/bin", "/usr/lib"))
        return replace(host, overlay=_try(Policy(mounts=(layers,)), "/layers"))
    except SandboxError as error:
        from sandbox.linux.causes import mend

        stage = error.stage if isinstance(error, SetupError) else "platform"
        number = error.errno if isinstance(error, SetupError) else 0
        return replace(host, failed_stage=stage, cause=error.message, mend=error.hint or mend(stage, number))


def _try(policy: Policy, path: str) -> bool:
    """Whether `path` is there inside. Raises: SandboxError if there is no inside."""
    from sandbox.choose import run

    return run(policy, Command(argv=("/usr/bin/test", "-e", path))).returncode == 0


def _boot_id() -> str:
    """The kernel's name for this boot, empty where there is none."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:  # noqa: PTH123 - a kernel file
            return stream.read().strip()
    except OSError:
        return ""

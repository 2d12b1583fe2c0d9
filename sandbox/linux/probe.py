"""What this host can enforce, found out by doing it once in a throw-away sandbox, and why not.

The answer holds until the next boot or change of the kernel's settings; whoever asks often keeps it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import cache

from sandbox.command import Command
from sandbox.errors import SandboxError, SetupError
from sandbox.host import Host
from sandbox.linux.backend import Namespaces
from sandbox.linux.causes import mend
from sandbox.linux.syscalls import landlock_abi
from sandbox.policy import Mount, Policy


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
        process_view = _try(Policy(), "/proc/self/stat")
        host = replace(host, namespaces=True, process_view=process_view, landlock_abi=landlock_abi())
        layers = Mount.overlay("/layers", ("/usr/bin", "/usr/lib"))
        return replace(host, overlay=_try(Policy(mounts=(layers,)), "/layers"))
    except SandboxError as error:
        stage = error.stage if isinstance(error, SetupError) else "platform"
        number = error.errno if isinstance(error, SetupError) else 0
        return replace(host, failed_stage=stage, cause=error.message, mend=error.hint or mend(stage, number))


def _try(policy: Policy, path: str) -> bool:
    """Whether `path` is there inside. Raises: SandboxError if there is no inside."""
    command = Command(argv=("/usr/bin/test", "-e", path))
    return Namespaces().spawn(policy, command).wait().returncode == 0


def _boot_id() -> str:
    """The kernel's name for this boot, empty where there is none."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:  # noqa: PTH123 - a kernel file
            return stream.read().strip()
    except OSError:
        return ""

"""The backend of macOS: `sandbox-exec` with a generated profile."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sandbox.backend import Coverage
from sandbox.command import Command
from sandbox.errors import UnsupportedError
from sandbox.macos.child import ChildProcess
from sandbox.macos.seatbelt import profile
from sandbox.policy import Guarantee, Isolation, Limits, MountKind, Policy, Terminal
from sandbox.process import Process

PROGRAM = "/usr/bin/sandbox-exec"
_LIMITS = {
    "memory_bytes": "RLIMIT_AS",
    "processes": "RLIMIT_NPROC",
    "cpu_seconds": "RLIMIT_CPU",
    "file_size_bytes": "RLIMIT_FSIZE",
    "open_files": "RLIMIT_NOFILE",
}


class Seatbelt:
    """Files, network and other processes by a profile that the kernel keeps for the whole tree."""

    isolation = Isolation.SEATBELT

    def coverage(self) -> Coverage:
        """What a profile gives; its text is tested, the kernel's part is Apple's."""
        notes = (
            "system calls are not filtered, and a daemon that leaves the command's session outlives it",
            "the command runs as the caller, on the host's own files; home and temporary folder are private",
            "the caller's terminal, if it is handed in, is the caller's own",
        )
        guarantees = frozenset(
            {
                Guarantee.FILESYSTEM,
                Guarantee.METADATA,
                Guarantee.NETWORK,
                Guarantee.IPC,
                Guarantee.ENVIRONMENT,
            }
        )
        return Coverage(guarantees=guarantees, notes=notes)

    def prepare(self, policy: Policy, machine: str) -> dict[str, Any]:
        """Raises: UnsupportedError: nothing is replayed here, each run has a folder of its own."""
        raise UnsupportedError("a seatbelt profile is made for each run", hint="use `run` or `spawn`")

    def spawn(self, policy: Policy, command: Command) -> Process:
        """Start `command` under `policy`. Raises: UnsupportedError, PolicyError."""
        if policy.terminal is Terminal.PTY:
            raise UnsupportedError(
                "there is no pseudo-terminal of its own on macOS yet", hint="use `Terminal.DETACHED`"
            )
        private = os.path.realpath(tempfile.mkdtemp(prefix="sandbox-"))
        try:
            for name in ("home", "temporary"):
                os.mkdir(f"{private}/{name}", 0o700)  # noqa: PTH102
            resolved = resolve(policy)
            argv = (PROGRAM, "-p", profile(resolved, private=private), *command.argv)
            child = subprocess.Popen(
                argv,
                env=environment(resolved, private),
                cwd=working_directory(policy, command.cwd, private),
                stdin=command.stdin,
                stdout=command.stdout,
                stderr=command.stderr,
                pass_fds=command.pass_fds,
                start_new_session=True,
                preexec_fn=_limiter(policy.limits),  # noqa: PLW1509 - two system calls, nothing that takes a lock
            )
        except BaseException:
            shutil.rmtree(private, ignore_errors=True)
            raise
        return ChildProcess(
            child,
            limit_seconds=policy.limits.wall_clock_seconds,
            clean_up=lambda: shutil.rmtree(private, ignore_errors=True),
        )


def resolve(policy: Policy) -> Policy:
    """The same policy with links resolved: `/tmp` and `/var` are links on macOS, and the kernel compares
    what it has resolved."""
    mounts = []
    for mount in policy.mounts:
        if mount.kind is MountKind.BIND and mount.source in (None, mount.target):
            real = os.path.realpath(mount.target)
            mounts.append(replace(mount, target=real, source=real))
        else:
            mounts.append(replace(mount, target=_real_parent(mount.target)))
    return replace(policy, mounts=tuple(mounts))


def _real_parent(path: str) -> str:
    """A path whose last part is taken as it is: what is protected may not exist."""
    folder, _, name = path.rpartition("/")
    return f"{os.path.realpath(folder or '/').rstrip('/')}/{name}"


def environment(policy: Policy, private: str) -> dict[str, str]:
    """The payload's whole environment, with the private folders in it."""
    variables = {**dict(policy.environment), "TMPDIR": f"{private}/temporary"}
    return variables if policy.home is None else {**variables, "HOME": f"{private}/home"}


def working_directory(policy: Policy, cwd: str, private: str) -> str:
    """The directory that `cwd`, a path inside, is on the host."""
    if policy.home is not None and (cwd + "/").startswith(policy.home + "/"):
        return f"{private}/home{cwd[len(policy.home) :]}"
    return cwd


def _limiter(limits: Limits) -> Callable[[], None]:
    """A function for the child that sets what the policy limits, and no core dumps."""
    import resource

    named = {"RLIMIT_CORE": 0} | {
        limit: int(value) for name, limit in _LIMITS.items() if (value := getattr(limits, name)) is not None
    }
    pairs = [(getattr(resource, limit), value) for limit, value in named.items()]

    def apply() -> None:
        for number, value in pairs:
            resource.setrlimit(number, (value, value))

    return apply

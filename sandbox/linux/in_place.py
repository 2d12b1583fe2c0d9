"""The backend for hosts that deny user namespaces: Landlock and seccomp around the host's own files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

from sandbox.backend import Coverage
from sandbox.command import Command
from sandbox.errors import UnsupportedError
from sandbox.linux import causes, filter_in_place, reach, syscalls
from sandbox.linux import operations as op
from sandbox.linux.compile import outside_limits, resource_limits
from sandbox.linux.context import PLAN_VERSION
from sandbox.linux.spawn import spawn
from sandbox.policy import Guarantee, Isolation, NetworkKind, Policy, Terminal
from sandbox.process import Process

_TRUNCATE_ABI, _SCOPE_ABI = 3, 6


class InPlace:
    """Landlock for files and signals, seccomp for sockets and the kernel's surface, a tree ended by hand."""

    isolation = Isolation.LANDLOCK

    def coverage(self) -> Coverage:
        """What holds here, by the version of Landlock that the kernel speaks."""
        abi = syscalls.landlock_abi()
        if abi == 0:
            return Coverage(guarantees=frozenset(), notes=(causes.describe_landlock()[0],))
        weaker = {Guarantee.METADATA}
        notes = [
            "files out of reach can be seen to exist; modes and times of the caller's own can be changed",
            "accounts and addresses of the machine (`/etc/passwd`, `/etc/hosts`) can be read",
            "nothing new can be made in a folder that holds a protected file, such as the project's root",
            "no loopback, no `/dev/shm`, no new pseudo-terminal, no Unix socket but connected pairs",
            "a daemon of the command outlives it if somebody kills supervisor and init at once",
            "the size of temporary files is not limited",
        ]
        if os.geteuid() == 0:
            notes.append("root owns the system's files, so their modes can be changed; be an ordinary user")
        if abi < _TRUNCATE_ABI:
            weaker.add(Guarantee.FILESYSTEM)
            notes.append(
                f"Landlock of ABI {abi} lets files out of reach be emptied; it needs {_TRUNCATE_ABI}"
            )
        if abi < _SCOPE_ABI:
            weaker.add(Guarantee.PROCESSES)
            notes.append(f"Landlock of ABI {abi} lets other processes be signalled; it needs {_SCOPE_ABI}")
        elif not _can_list_processes():
            weaker.add(Guarantee.PROCESSES)
            notes.append("processes cannot be listed here, so a daemon of the command may outlive it")
        return Coverage(guarantees=frozenset(Guarantee) - weaker, notes=tuple(notes))

    def prepare(self, policy: Policy, machine: str) -> op.Plan:
        """The compiled policy. Raises: UnsupportedError."""
        if syscalls.landlock_abi() == 0:
            message, hint = causes.describe_landlock()
            raise UnsupportedError(message, hint=hint)
        return compile_in_place(policy, machine, parent=_temporary_folder())

    def spawn(self, policy: Policy, command: Command) -> Process:
        """Start `command` under `policy`."""
        return spawn(self.prepare(policy, os.uname().machine), command)


def compile_in_place(policy: Policy, machine: str, *, parent: str) -> op.Plan:
    """The plan that makes `policy` as true as it can be without mounts; the private folder goes to `parent`.

    Pure. Raises: UnsupportedError for a policy that needs mounts or a network namespace.
    """
    if policy.network.kind is NetworkKind.HOSTS:
        raise UnsupportedError(
            "a list of allowed hosts needs a network namespace",
            hint="the isolation `landlock` knows no network, or the caller's as a whole",
        )
    terminal = policy.terminal is Terminal.PTY
    return {
        "version": PLAN_VERSION,
        "machine": machine,
        "namespaces": 0,
        "placeholders": (),
        "init": (op.keyring(),),
        "beside": (("harden",),),
        "payload": tuple(_payload(policy, machine)),
        "environment": dict(policy.environment),
        "wall_clock_seconds": policy.limits.wall_clock_seconds,
        "terminal": terminal,
        "temporary": (),
        "outside": outside_limits(policy.limits),
        "private": {"parent": parent, "home": policy.home, "links": reach.links(policy)},
    }


def _payload(policy: Policy, machine: str) -> Iterator[op.Operation]:
    """What the command's process does, in order; the filter is last because it forbids all of this."""
    network = policy.network.kind is NetworkKind.HOST
    yield ("tie",)
    yield op.pty() if policy.terminal is Terminal.PTY else op.session()
    yield op.limits(resource_limits(policy.limits))
    yield ("renounce",)
    yield ("wall", reach.rules(policy), network)
    yield op.enter()
    # A share of the processors may be kept by naming some of them; then no other may be chosen inside.
    denied = () if policy.limits.cpus is None else ("sched_setaffinity",)
    yield ("filter", filter_in_place.program(machine, network=network, denied=denied), network)


def _temporary_folder() -> str:
    """Where the private folder is made: one that is there and may be written."""
    return os.path.realpath(tempfile.gettempdir())


def _can_list_processes() -> bool:
    """Whether this process can see which others there are; an outer sandbox may hide `/proc`."""
    try:
        return str(os.getpid()) in os.listdir("/proc")  # noqa: PTH208
    except OSError:
        return False

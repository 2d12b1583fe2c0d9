"""The strongest backend: the promises of `docs/sandbox.md`, all of them."""

from __future__ import annotations

import os

from sandbox.backend import Coverage
from sandbox.command import Command
from sandbox.linux import operations as op
from sandbox.linux.compile import compile_policy
from sandbox.linux.spawn import spawn
from sandbox.policy import Guarantee, Isolation, Policy
from sandbox.process import Process


class Namespaces:
    """User, mount, process, network, IPC, host name and cgroup namespaces, seccomp, Landlock."""

    isolation = Isolation.NAMESPACES

    def coverage(self) -> Coverage:
        """Everything; each part is looked at after it is applied, and a part that fails fails the run."""
        return Coverage(guarantees=frozenset(Guarantee))

    def prepare(self, policy: Policy, machine: str) -> op.Plan:
        """The compiled policy."""
        return compile_policy(policy, machine)

    def spawn(self, policy: Policy, command: Command) -> Process:
        """Start `command` under `policy`."""
        return spawn(self.prepare(policy, os.uname().machine), command)

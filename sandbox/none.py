"""No isolation, asked for by name: a clean environment and a session of its own, and nothing else.

It is compiled to a plan like any other, so that signals, limits, exit codes and the pty are the same.
"""

from __future__ import annotations

from sandbox.backend import Coverage
from sandbox.command import Command
from sandbox.linux import operations as op
from sandbox.linux.compile import outside_limits, resource_limits
from sandbox.linux.context import PLAN_VERSION
from sandbox.policy import Guarantee, Isolation, Policy, Terminal
from sandbox.process import Process


class Unconfined:
    """Runs the command on the host itself. Mounts, home and network of the policy are not applied."""

    isolation = Isolation.NONE

    def coverage(self) -> Coverage:
        """What a clean `execve` in a session of its own gives."""
        notes = (
            "the command sees and changes the host's files, network and processes as the caller may",
            "a process that leaves the command's process group outlives it",
        )
        return Coverage(guarantees=frozenset({Guarantee.ENVIRONMENT}), notes=notes)

    def prepare(self, policy: Policy, machine: str) -> op.Plan:
        """A plan without namespaces."""
        terminal = policy.terminal is Terminal.PTY
        payload = (
            op.pty() if terminal else op.session(),
            op.limits(resource_limits(policy.limits)),
            op.enter(),
        )
        return {
            "version": PLAN_VERSION,
            "machine": machine,
            "namespaces": 0,
            "placeholders": (),
            "init": (),
            "beside": (),
            "payload": payload,
            "environment": dict(policy.environment),
            "wall_clock_seconds": policy.limits.wall_clock_seconds,
            "terminal": terminal,
            "temporary": (),
            "outside": outside_limits(policy.limits),
        }

    def spawn(self, policy: Policy, command: Command) -> Process:
        """Start the command on the host."""
        import os

        from sandbox.linux.spawn import spawn

        return spawn(self.prepare(policy, os.uname().machine), command)

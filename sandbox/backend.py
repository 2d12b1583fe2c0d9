"""What every backend offers, and what it must say honestly about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from sandbox.command import Command
from sandbox.policy import Guarantee, Isolation, Policy
from sandbox.process import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What a backend really enforces on this host."""

    guarantees: frozenset[Guarantee]
    notes: tuple[str, ...] = ()
    """What is weaker than its name says, one sentence each."""

    def missing(self, required: frozenset[Guarantee]) -> tuple[Guarantee, ...]:
        """What is required and not enforced, in a stable order."""
        return tuple(sorted(required - self.guarantees, key=lambda item: item.value))


class Backend(Protocol):
    """One way to isolate. `choose.py` picks; nobody else knows which there are."""

    isolation: Isolation

    def coverage(self) -> Coverage:
        """What it enforces here."""

    def prepare(self, policy: Policy, machine: str) -> dict[str, Any]:
        """Compile `policy` to plain data for `replay`. Raises: SandboxError."""

    def spawn(self, policy: Policy, command: Command) -> Process:
        """Start `command` under `policy`. Raises: SandboxError."""

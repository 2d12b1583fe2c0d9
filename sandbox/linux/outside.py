"""What a sandbox gets from its supervisor besides being watched; imported only for plans that ask for it.

The order: made before pid 1 is cloned, `begin` when it is, `finish` when it is dead.
"""

from __future__ import annotations

import time

from sandbox import codes, signals
from sandbox.linux.context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.errors import SetupError
    from sandbox.linux.egress_service import Service
    from sandbox.linux.launch import Outcome
    from sandbox.linux.limiting import Limiting
    from sandbox.linux.output import Output
    from sandbox.linux.sampling import Sampler
    from sandbox.terminal import Relay


class Outside:
    """The services of one sandbox, each only where it is wanted."""

    def __init__(self, wanted: dict[str, Any], context: Context, *, terminal: bool) -> None:
        """`wanted` is the plan's `outside`; tells pid 1's `context` what it needs.

        On a `terminal` the output is the relay's to count.

        Raises: SandboxError.
        """
        self._started = time.monotonic()
        self._network: Service | None = None
        self._limiting: Limiting | None = None
        self._output: Output | None = None
        self._sampler: Sampler | None = None
        self._relay: Relay | None = None
        self.account = context.given.account = bool(wanted.get("stats"))
        """Whether it is asked what the whole tree of processes uses."""
        self._limits: dict[str, Any] = wanted.get("limits", {})
        if self.account or self._limits:
            self._limit(context)
        if "output_bytes" in self._limits and not terminal:
            from sandbox.linux.output import Output

            self._output = Output(self._limits["output_bytes"])
            context.given.streams = self._output.inside
            context.given.private += self._output.outside
        if "network" in wanted:
            from sandbox.linux.egress_service import Service

            self._network = Service(wanted["network"]["allowed"], wanted["network"]["networks"])
            context.given.egress = self._network.inside
            context.given.private += (self._network.outside,)

    def _limit(self, context: Context) -> None:
        from sandbox.linux.limiting import Limiting

        self._limiting = Limiting(self._limits, context, account=self.account)
        counts_memory = self._limiting.group is not None and "memory" in self._limiting.group.controllers
        if self.account and not counts_memory:
            from sandbox.linux.sampling import Sampler

            self._sampler = Sampler()

    def meter(self, relay: Relay) -> None:
        """Have the relay of a terminal keep the limit of the output."""
        self._relay = relay
        relay.left_bytes = self._limits.get("output_bytes")

    def begin(self, init: int) -> None:
        """Start what runs beside the sandbox."""
        if self._limiting is not None:
            self._limiting.begin()
        if self._output is not None:
            self._output.begin()
        if self._network is not None:
            self._network.begin()
        if self._sampler is not None:
            self._sampler.begin(init)

    def finish(self) -> dict[str, Any]:
        """End everything and return fields for the outcome. Called once, whatever happened."""
        found: dict[str, Any] = {}
        if self._network is not None:
            found["network"] = self._network.close()
        if self._output is not None:
            self._output.close()
        sampled = 0 if self._sampler is None else self._sampler.close()
        counted = {} if self._limiting is None else self._limiting.close()
        reached = [] if self._limiting is None else self._limiting.reached(counted)
        carrier = self._output or self._relay
        if carrier is not None and carrier.is_cut:
            reached.append(("output_bytes", 1))
        found["reached"] = tuple((name, self._limits[name], count) for name, count in reached)
        if self.account:
            found["wall_seconds"] = time.monotonic() - self._started
            found["processes_at_once"] = counted.get("processes_at_once")
            if "peak_memory_bytes" in counted:
                found |= {"peak_memory_bytes": counted["peak_memory_bytes"], "memory_of": "group"}
            elif sampled:
                found |= {"peak_memory_bytes": sampled, "memory_of": "samples"}
        return found

    def cause(self, stage: str) -> SetupError | None:
        """Why a stage failed inside, where the true reason lies out here."""
        return self._network.failure if stage == "egress" and self._network is not None else None

    def met_by_signal(self, outcome: Outcome) -> tuple[tuple[str, float, int], ...]:
        """The limit whose signal ended the command, or a program of which the command, a shell, says so."""
        number = outcome.signal or (outcome.code or 0) - codes.SIGNAL_BASE
        name = {signals.SIGXFSZ: "file_size_bytes", signals.SIGXCPU: "cpu_seconds"}.get(number, "")
        return ((name, self._limits[name], 1),) if name in self._limits else ()

"""What a sandbox gets from its supervisor besides being watched; imported only for plans that ask for it.

The order: made before pid 1 is cloned, `begin` when nothing is forked any more, `finish` when pid 1 is dead.
"""

from __future__ import annotations

from typing import Any

from sandbox.errors import SetupError
from sandbox.linux.context import Context
from sandbox.linux.egress_service import Service
from sandbox.traffic import NetworkReport


class Outside:
    """The services of one sandbox."""

    def __init__(self, wanted: dict[str, Any], context: Context) -> None:
        """`wanted` is the plan's `outside`; tells pid 1's `context` what it needs. Raises: SandboxError."""
        self._network: Service | None = None
        if "network" in wanted:
            self._network = Service(wanted["network"]["allowed"], wanted["network"]["networks"])
            context.egress = self._network.inside
            context.outside = (self._network.outside,)

    def begin(self) -> None:
        """Start what runs beside the sandbox; threads, so nothing may be forked from here on."""
        if self._network is not None:
            self._network.begin()

    def finish(self) -> NetworkReport | None:
        """End everything and return what was counted on the network. Called once, whatever happened."""
        return None if self._network is None else self._network.close()

    def cause(self, stage: str) -> SetupError | None:
        """Why a stage failed inside, where the true reason lies out here."""
        return self._network.failure if stage == "egress" and self._network is not None else None

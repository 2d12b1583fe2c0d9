"""What a host can enforce, as data; the platform's own `probe` finds it out."""

from __future__ import annotations

from dataclasses import dataclass


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
    landlock: bool = False
    """Whether the Landlock backend works here."""
    landlock_cause: str | None = None
    """Why it does not."""
    failed_stage: str | None = None
    """Where the namespaces backend failed."""
    cause: str | None = None
    mend: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """Who keeps a limit that is about all processes of a sandbox together."""

    kept: str
    """`control group version 2`, or how far it is kept without one: `of each process alone`."""
    because: tuple[str, ...] = ()
    """Why no control group keeps it, a reason a place that was tried; empty where one does."""

    @property
    def sentence(self) -> str:
        """Both in one line."""
        return f"{self.kept} ({'; '.join(self.because)})" if self.because else self.kept

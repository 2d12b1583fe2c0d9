"""The one table: fault, trials, and what was lost or wrong afterwards, for pypm and for its peers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

PROGRAMS = ("pypm", "uv", "pip")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault, put to one program a number of times."""

    fault: str
    program: str
    trials: int
    wrong: tuple[str, ...] = ()
    """One line for each trial after which something was lost or wrong although the next command had ended."""
    halfway: int = 0
    """Trials that left a half-made environment or lock to be found before the next command."""
    note: str = ""
    """What else was measured, or why nothing was."""

    @property
    def cell(self) -> str:
        """What the table shows."""
        if not self.trials:
            return self.note or "-"
        lost = min(len(self.wrong), self.trials)
        halfway = f", {self.halfway} half-made" if self.halfway else ""
        note = f" ({self.note})" if self.note else ""
        return f"{lost} of {self.trials}{halfway}{note}"

    @property
    def failed(self) -> int:
        """Trials that count as failed; what the peers lose is shown beside ours, it does not fail us."""
        return 0 if self.program != "pypm" else min(self.trials, max(len(self.wrong), self.halfway))


def rendered(rows: Iterable[Row]) -> str:
    """Return the table as Markdown."""
    listed = list(rows)
    lines = ["| fault | pypm: lost or wrong | uv | pip |", "|---|---|---|---|"]
    for fault in dict.fromkeys(row.fault for row in listed):
        cells = {row.program: row.cell for row in listed if row.fault == fault}
        lines.append(f"| {fault} | {' | '.join(cells.get(program, '-') for program in PROGRAMS)} |")
    return "\n".join(lines)


def as_json(rows: Iterable[Row]) -> str:
    """Return the table for programs."""
    return json.dumps([asdict(row) for row in rows], indent=2)

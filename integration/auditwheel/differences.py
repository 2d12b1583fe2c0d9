"""Where the two differ, and why that is as it should be."""

from __future__ import annotations

from integration.auditwheel.verdicts import Verdict

REASONS: tuple[tuple[str, str, str, str], ...] = ()
"""Beginning of the wheel's name, a part of PyPA's answer, a part of ours, and the reason."""


def reason(name: str, theirs: Verdict, mine: Verdict) -> str | None:
    """Return why a wheel may be judged differently; None where there is no reason."""
    for beginning, their_part, my_part, why in REASONS:
        if name.startswith(beginning) and their_part in theirs.why and my_part in mine.why:
            return why
    return None

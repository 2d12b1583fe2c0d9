"""Where the two differ, and why that is as it should be."""

from __future__ import annotations

from integration.auditwheel.verdicts import Verdict

REASONS = (
    (
        "musllinux_1_1",
        "finds musllinux_1_2",
        "no finding",
        "PyPA's program asks this machine for its musl, and knows only the newest policy where there is none",
    ),
    (
        "musllinux",
        "needs libc.so",
        "no finding",
        "libc.so is musl's own soname; PyPA's program knows it only by the name that distributions give it",
    ),
)
"""A part of the wheel's name, of PyPA's answer and of ours, and the reason."""


def reason(name: str, theirs: Verdict, mine: Verdict) -> str | None:
    """Return why a wheel may be judged differently; None where there is no reason."""
    for part, their_part, my_part, why in REASONS:
        if part in name and their_part in theirs.why and my_part in mine.why:
            return why
    return None

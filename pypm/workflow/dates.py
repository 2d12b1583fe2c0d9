"""Date limits: a duration becomes a moment once, when the lock is made, and stays that moment in the lock."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone

_WORDS = re.compile(r"\s*(?P<number>\d+)\s*(?P<unit>second|minute|hour|day|week|month|year)s?\s*")
_ISO = re.compile(
    r"P(?:(?P<year>\d+)Y)?(?:(?P<month>\d+)M)?(?:(?P<week>\d+)W)?(?:(?P<day>\d+)D)?"
    r"(?:T(?:(?P<hour>\d+)H)?(?:(?P<minute>\d+)M)?(?:(?P<second>\d+)S)?)?"
)
"""Source: ISO 8601 durations."""

_SECONDS = {
    "second": 1,
    "minute": 60,
    "hour": 3_600,
    "day": 86_400,
    "week": 604_800,
    "month": 30 * 86_400,
    "year": 365 * 86_400,
}
"""A month is 30 days and a year 365: a limit does not need the calendar, and must not depend on it."""


def is_duration(limit: str) -> bool:
    """Whether a date limit counts back from now."""
    return _WORDS.fullmatch(limit) is not None or _ISO.fullmatch(limit) is not None


def absolute(limit: str, *, now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)) -> str:
    """Return a limit as a moment: a duration counted back from now, anything else as it is written."""
    if match := _WORDS.fullmatch(limit):
        seconds = int(match["number"]) * _SECONDS[match["unit"]]
    elif match := _ISO.fullmatch(limit):
        seconds = sum(int(number) * _SECONDS[unit] for unit, number in match.groupdict(default="0").items())
    else:
        return limit
    moment = now() - timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def end_of(limit: str) -> str:
    """Return the first moment that an absolute limit leaves out: a date alone includes its whole day."""
    try:
        day = date.fromisoformat(limit)
    except ValueError:
        return limit
    return f"{day + timedelta(days=1)}T00:00:00Z"

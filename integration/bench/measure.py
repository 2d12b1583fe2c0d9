"""Timing two commands in turn, so that what the machine does to one it does to the other."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


def nothing() -> None:
    """Prepare nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One program doing the row's work."""

    name: str
    argv: tuple[str | Path, ...]
    folder: Path
    environment: Mapping[str, str]
    prepare: Callable[[], None] = nothing
    """Puts the world into the state that the row starts from; not timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Seconds, pair by pair."""

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Median of the pairs' ratios: below one, pypm is the faster."""
        return statistics.median(self.ratios)

    @property
    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def noise(self) -> float:
        """Half the interquartile range of the ratios."""
        if len(self.ratios) < 4:
            return max(self.ratios) - min(self.ratios)
        low, _, high = statistics.quantiles(self.ratios, n=4)
        return (high - low) / 2


def seconds(contender: Contender) -> float:
    """Run once and return the wall-clock seconds.

    Raises:
        SystemExit: the command failed; a failed run has no time worth comparing.
    """
    contender.prepare()
    started = time.perf_counter()
    done = subprocess.run(
        contender.argv,
        cwd=contender.folder,
        env=dict(contender.environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    elapsed = time.perf_counter() - started
    if done.returncode != 0:
        command = " ".join(map(str, contender.argv))
        raise SystemExit(f"`{command}` exited {done.returncode}:\n{done.stderr.decode(errors='replace')}")
    return elapsed


def compare(ours: Contender, theirs: Contender, *, pairs: int, warm_up: int = 2) -> Measurement:
    """Run both in turn, `pairs` times after `warm_up` unmeasured pairs, swapping who goes first."""
    for _ in range(warm_up):
        seconds(ours)
        seconds(theirs)
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(pairs):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for which in order:
            times[which].append(seconds((ours, theirs)[which]))
    return Measurement(ours=tuple(times[0]), theirs=tuple(times[1]))

"""Measuring two commands in turn, so that what the machine does to one it does to the other."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Quantity = Literal["seconds", "bytes"]
"""Wall-clock time, or the peak memory of the largest process."""


def nothing() -> None:
    """Prepare nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One program doing the row's work."""

    argv: tuple[str | Path, ...]
    folder: Path
    environment: Mapping[str, str]
    prepare: Callable[[], None] = nothing
    """Puts the world into the state that the row starts from; not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What was measured, pair by pair, in seconds or bytes."""

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Median of the pairs' ratios: below one, pypm needs less."""
        return statistics.median(self.ratios)

    @property
    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def spread(self) -> float:
        """Half the interquartile range of the ratios; of fewer than four, half of the whole range."""
        if len(self.ratios) < 4:
            return (max(self.ratios) - min(self.ratios)) / 2
        low, _, high = statistics.quantiles(self.ratios, n=4)
        return (high - low) / 2


def measured(contender: Contender, quantity: Quantity) -> float:
    """Run once and return what the run took.

    Raises:
        SystemExit: the command failed; a failed run is worth no comparison.
    """
    contender.prepare()
    with tempfile.TemporaryFile() as told:
        started = time.perf_counter()
        process = subprocess.Popen(
            contender.argv,
            cwd=contender.folder,
            env=dict(contender.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=told,
        )
        _, status, usage = os.wait4(process.pid, 0)
        elapsed = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            command = " ".join(map(str, contender.argv))
            told.seek(0)
            words = told.read().decode(errors="replace")
            raise SystemExit(f"`{command}` exited {process.returncode}:\n{words}")
    return elapsed if quantity == "seconds" else usage.ru_maxrss * 1024


def compare(
    ours: Contender, theirs: Contender, *, pairs: int, warm_up: int = 2, quantity: Quantity = "seconds"
) -> Measurement:
    """Run both in turn, `pairs` times after `warm_up` unmeasured pairs, swapping who goes first."""
    for _ in range(warm_up):
        measured(ours, quantity)
        measured(theirs, quantity)
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(pairs):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for which in order:
            found[which].append(measured((ours, theirs)[which], quantity))
    return Measurement(ours=tuple(found[0]), theirs=tuple(found[1]))

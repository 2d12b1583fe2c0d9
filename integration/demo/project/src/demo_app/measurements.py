"""Measurements and what can be said of many of them."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class Measurement:
    """One day at one station."""

    station: str
    day: str
    temperature_celsius: float = attrs.field(converter=float)
    rain_mm: float = attrs.field(converter=float)


@attrs.frozen(kw_only=True)
class Summary:
    """All days of one station."""

    station: str
    days: int
    warmest_celsius: float
    mean_celsius: float
    rain_mm: float


def read_measurements(path: Path) -> tuple[Measurement, ...]:
    """Read a CSV file whose columns are the fields of `Measurement`."""
    with path.open(newline="", encoding="utf-8") as stream:
        return tuple(Measurement(**row) for row in csv.DictReader(stream))


def summarise(measurements: Iterable[Measurement]) -> tuple[Summary, ...]:
    """Sum up each station, sorted by name."""
    stations: dict[str, list[Measurement]] = defaultdict(list)
    for measurement in measurements:
        stations[measurement.station].append(measurement)
    return tuple(
        Summary(
            station=name,
            days=len(days),
            warmest_celsius=max(day.temperature_celsius for day in days),
            mean_celsius=sum(day.temperature_celsius for day in days) / len(days),
            rain_mm=sum(day.rain_mm for day in days),
        )
        for name, days in sorted(stations.items())
    )

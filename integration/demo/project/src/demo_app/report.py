"""The program: a CSV file to a table on the terminal, and a text file beside the data."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo_app.measurements import Summary, read_measurements, summarise


def main() -> int:
    """Print the summary of the file that the command line names; write it to `report.txt` beside it too."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: demo-app FILE.csv\n")
        return 2
    source = Path(sys.argv[1])
    table = as_table(summarise(read_measurements(source)))
    Console().print(table)
    with source.with_name("report.txt").open("w", encoding="utf-8") as stream:
        Console(file=stream, width=80).print(table)
    return 0


def as_table(summaries: tuple[Summary, ...]) -> Table:
    """One row a station."""
    table = Table(title="Stations")
    table.add_column("station")
    for column in ("days", "warmest °C", "mean °C", "rain mm"):
        table.add_column(column, justify="right")
    for summary in summaries:
        table.add_row(
            summary.station,
            str(summary.days),
            f"{summary.warmest_celsius:.1f}",
            f"{summary.mean_celsius:.1f}",
            f"{summary.rain_mm:.1f}",
        )
    return table

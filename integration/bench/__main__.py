"""Measure every row and print the table: `python -m integration.bench [--heavy] [--row WORD] [--json]`."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from integration import peers
from integration.bench.arena import Arena
from integration.bench.measure import Measurement, Quantity, compare
from integration.bench.rows import Row, Skipped, rows

Result = tuple[Row, Measurement]
WIDTH = 130


def told(values: Sequence[float], quantity: Quantity) -> str:
    """The median, in the unit that people read."""
    median = statistics.median(values)
    return f"{median * 1000:.0f} ms" if quantity == "seconds" else f"{median / 1e6:.0f} MB"


def verdict(row: Row, measurement: Measurement) -> str:
    """One word: what passes its budget by less than the spread is said to be close."""
    if row.limit is not None and statistics.median(measurement.ours) > row.limit:
        return "over"
    if measurement.ratio <= row.budget:
        return "within"
    return "close" if measurement.ratio - measurement.spread <= row.budget else "over"


def render(results: Sequence[Result], skipped: Sequence[Skipped]) -> None:
    """Print the table for people."""
    table = Table(title=f"{peers.version(peers.PYPM)} beside {peers.version(peers.uv())}: medians of pairs")
    for heading in ("what", "pypm", "peer", "ratio", "±", "budget", "pairs", ""):
        table.add_column(heading, justify="left" if heading in {"what", ""} else "right")
    for row, measurement in results:
        budget = f"{row.budget:.1f}" if row.limit is None else told([row.limit], row.quantity)
        table.add_row(
            row.name,
            told(measurement.ours, row.quantity),
            told(measurement.theirs, row.quantity),
            f"{measurement.ratio:.2f}",
            f"{measurement.spread:.2f}",
            budget,
            str(row.pairs),
            verdict(row, measurement),
        )
    console = Console(width=WIDTH)
    console.print(table)
    locks = [measurement.ratio for row, measurement in results if row.name.startswith("lock, cold")]
    if len(locks) > 1:
        median = f"{statistics.median(locks):.2f}"
        console.print(f"lock, cold: {median} in the median of {len(locks)} projects (budget 1.0)")
    for row in skipped:
        console.print(f"skipped: {row.name}: {row.reason}")


def measure(arena: Arena, *, heavy: bool, word: str) -> tuple[list[Result], list[Skipped]]:
    """Measure the rows whose name contains `word`; say on stderr which one it is at."""
    results: list[Result] = []
    skipped: list[Skipped] = []
    for row in rows(arena, heavy=heavy):
        if word not in row.name:
            continue
        if isinstance(row, Skipped):
            skipped.append(row)
            continue
        print(f"  {row.name}", file=sys.stderr, flush=True)
        try:
            ours, theirs = row.contenders()
            found = compare(ours, theirs, pairs=row.pairs, warm_up=row.warm_up, quantity=row.quantity)
        except (SystemExit, subprocess.CalledProcessError) as error:
            lines = str(error).strip().splitlines()
            skipped.append(Skipped(name=row.name, reason="\n".join([*lines[:1], *lines[1:][-1:]])))
            continue
        results.append((row, found))
    return results, skipped


def main() -> None:
    """Measure; the exit code is 0 whatever the ratios are: a budget is looked at by people."""
    parser = argparse.ArgumentParser(prog="python -m integration.bench")
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    parser.add_argument("--row", default="", help="only rows whose name contains this")
    parser.add_argument(
        "--heavy", action="store_true", help="also what moves gigabytes: torch and its libraries"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pypm-bench-") as folder:
        results, skipped = measure(Arena(root=Path(folder)), heavy=options.heavy, word=options.row)
        subprocess.run(["chmod", "-R", "u+w", folder], check=False)
    if not options.json:
        render(results, skipped)
        return
    data = [
        {
            "row": row.name,
            "quantity": row.quantity,
            "budget": row.budget if row.limit is None else None,
            "limit": row.limit,
            "ratio": measurement.ratio,
            "spread": measurement.spread,
            **asdict(measurement),
        }
        for row, measurement in results
    ]
    print(json.dumps({"rows": data, "skipped": [asdict(row) for row in skipped]}, indent=2))


if __name__ == "__main__":
    main()

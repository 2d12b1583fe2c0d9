"""Run every row, in turn, and print the table: `python -m integration.bench [--json] [--row WORD]`."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from integration import peers
from integration.bench.measure import Measurement, compare
from integration.bench.rows import Arena, Row, rows

HERE = Path(__file__).resolve().parent


def milliseconds(times: tuple[float, ...]) -> str:
    return f"{statistics.median(times) * 1000:.0f} ms"


def render(results: list[tuple[Row, Measurement]]) -> None:
    """Print the table for people."""
    table = Table(title=f"{peers.version(peers.PYPM)} beside {peers.version(peers.uv())}: medians of pairs")
    for heading in ("what", "pypm", "peer", "ratio", "±", "budget", ""):
        table.add_column(heading, justify="left" if heading in ("what", "") else "right")
    for row, measured in results:
        verdict = "within" if measured.ratio <= row.budget else "over"
        table.add_row(
            row.name,
            milliseconds(measured.ours),
            milliseconds(measured.theirs),
            f"{measured.ratio:.2f}",
            f"{measured.noise:.2f}",
            f"{row.budget:.1f}",
            verdict,
        )
    Console(width=130).print(table)


def main() -> None:
    """Measure; the exit code is 0 whatever the ratios are: a budget is looked at by people."""
    parser = argparse.ArgumentParser(prog="python -m integration.bench")
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    parser.add_argument("--row", default="", help="only rows whose name contains this")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pypm-bench-") as folder:
        arena = Arena(root=Path(folder))
        chosen = [
            row
            for row in rows(arena, bench_project=HERE / "project", canary=HERE.parent / "my-lib")
            if arguments.row in row.name
        ]
        results = [
            (row, compare(row.ours, row.theirs, pairs=row.pairs, warm_up=row.warm_up)) for row in chosen
        ]
        subprocess.run(["chmod", "-R", "u+w", folder], check=False)
    if arguments.json:
        print(
            json.dumps(
                [
                    {"row": row.name, "ratio": m.ratio, "noise": m.noise, "ours": m.ours, "theirs": m.theirs}
                    for row, m in results
                ],
                indent=2,
            )
        )
    else:
        render(results)


if __name__ == "__main__":
    main()

"""`python -m integration.ecosystem FOLDER [--peer uv] [--exclude-newer DATE] [--json]`: real projects."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integration.ecosystem.contest import Result, Terms, contest, solver_seconds
from integration.ecosystem.pins import BETTER, count, differences, reasons
from integration.ecosystem.question import Question, read_folder
from integration.ecosystem.second import accepts, newer_and_older
from integration.scenarios.model import read_toml

HEAD = ("project", "packages", "forks", "pins", "ours s", "uv s", "ratio", "peak MB", "uv MB", "solver s")
WIDTHS = (28, 8, 5, 9, 8, 8, 6, 8, 7, 8)


@dataclass(slots=True)
class Row:
    """One project with what came out."""

    question: Question
    ours: Result
    theirs: Result | None
    solver_seconds: float | None = None
    explained: dict[str, str] = field(default_factory=dict)
    """How a package differs, to why that is right."""
    unexplained: list[str] = field(default_factory=list)

    @property
    def is_compared(self) -> bool:
        """Whether the peer locked it; what it cannot lock is reported and not compared."""
        return self.theirs is None or not self.theirs.trouble

    @property
    def passed(self) -> bool:
        return not self.is_compared or not (self.ours.trouble or self.unexplained)

    @property
    def ratio(self) -> float | None:
        theirs = self.theirs.median_seconds if self.theirs else None
        ours = self.ours.median_seconds
        return ours / theirs if ours and theirs else None

    @property
    def verdict(self) -> str:
        """One word for the table."""
        if not self.is_compared:
            return "uv failed"
        if self.ours.trouble:
            return "FAILED"
        if self.theirs is None:
            return "locked"
        return "DIFFER" if self.unexplained else "explained" if self.explained else "equal"


def main() -> int:
    """Print a row a project and the count; exit 1 when one failed."""
    options = _options()
    questions = read_folder(options.folder, options.only)
    if not questions:
        sys.exit(f"no folder right below `{options.folder}` has a pyproject.toml")
    terms = Terms(
        exclude_newer=options.exclude_newer,
        default_index=options.default_index,
        resolution=options.resolution,
        no_build=options.no_build,
        runs=options.runs,
    )
    better = read_toml(BETTER)
    rows = []
    if not options.json:
        print(_line(HEAD))
    for question in questions:
        row = judged(question, terms, peer=options.peer is not None, better=better)
        rows.append(row)
        print(json.dumps(_data(row)) if options.json else _text(row), flush=True)
    failed = sum(not row.passed for row in rows)
    _print_total(rows, failed, as_json=options.json)
    return 1 if failed else 0


def judged(question: Question, terms: Terms, *, peer: bool, better: Mapping[str, Any]) -> Row:
    """Lock one project and compare."""
    row = Row(question, *contest(question, terms, peer=peer))
    if row.ours.pins is not None:
        row.solver_seconds = solver_seconds(question, terms)
        if row.theirs is not None and row.theirs.pins is not None:
            known = reasons(question.name, better)
            for name, said in differences(row.ours.pins, row.theirs.pins).items():
                if name in known:
                    row.explained[said] = known[name]
                else:
                    row.unexplained.append(said)
            if row.unexplained:
                _look_again(row, terms)
    return row


def _look_again(row: Row, terms: Terms) -> None:
    """Explain what is left when the peer accepts our pins too, and they are the newer ones."""
    assert row.ours.pins is not None
    assert row.theirs is not None
    assert row.theirs.pins is not None
    newer, older = newer_and_older(row.ours.pins, row.theirs.pins)
    if newer > older and accepts(row.question, terms, row.ours):
        reason = (
            f"uv locks all of our pins too, as constraints; {newer} are newer than its own, {older} older"
        )
        row.explained.update(dict.fromkeys(row.unexplained, reason))
        row.unexplained.clear()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="integration.ecosystem", description=__doc__)
    parser.add_argument("folder", type=Path, help="every folder right below it with a pyproject.toml")
    parser.add_argument("--peer", choices=["uv"], help="lock beside it and compare")
    parser.add_argument("--exclude-newer", metavar="DATE", help="ignore files uploaded after this date")
    parser.add_argument("--default-index", metavar="URL", help="where both find the default index")
    parser.add_argument("--resolution", choices=["highest", "lowest", "lowest-direct"])
    parser.add_argument("--no-build", action="store_true", help="take wheels only")
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="times are medians of N runs each")
    parser.add_argument("--only", default="", metavar="TEXT", help="projects whose name contains this")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    return parser.parse_args()


def _text(row: Row) -> str:
    ours, theirs = row.ours, row.theirs
    cells = (
        row.question.name,
        "-" if ours.pins is None else str(count(ours.pins)),
        str(ours.forks),
        row.verdict,
        _number(ours.median_seconds),
        _number(theirs.median_seconds if theirs else None),
        _number(row.ratio),
        _number(ours.peak_bytes / 1e6 or None, digits=0),
        _number(theirs.peak_bytes / 1e6 or None if theirs else None, digits=0),
        _number(row.solver_seconds),
    )
    lines = [_line(cells), *(f"    {said}" for said in row.unexplained)]
    for said, reason in row.explained.items():
        lines += [f"    {said}", f"        {reason}"]
    for name, result in (("pypm", ours), ("uv", theirs)):
        if result is not None and result.trouble:
            lines += [f"    {name}: {line}" for line in result.trouble.splitlines()[-12:]]
    return "\n".join(lines)


def _line(cells: tuple[str, ...]) -> str:
    first, *rest = (
        f"{cell:<{width}}" if i in (0, 3) else f"{cell:>{width}}"
        for i, (cell, width) in enumerate(zip(cells, WIDTHS, strict=True))
    )
    return " ".join([first, *rest]).rstrip()


def _number(value: float | None, *, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _data(row: Row) -> dict[str, Any]:
    ours, theirs = row.ours, row.theirs
    return {
        "name": row.question.name,
        "passed": row.passed,
        "verdict": row.verdict,
        "packages": None if ours.pins is None else count(ours.pins),
        "forks": ours.forks,
        "seconds": ours.seconds,
        "peak_bytes": ours.peak_bytes,
        "solver_seconds": row.solver_seconds,
        "trouble": ours.trouble,
        "ratio": row.ratio,
        "peer": None
        if theirs is None
        else {"seconds": theirs.seconds, "peak_bytes": theirs.peak_bytes, "trouble": theirs.trouble},
        "explained": row.explained,
        "unexplained": row.unexplained,
    }


def _growth(rows: list[Row]) -> str:
    """Say how the time of solving alone grows with the number of packages."""
    known = sorted(
        (count(row.ours.pins), row.solver_seconds)
        for row in rows
        if row.ours.pins and row.solver_seconds is not None
    )
    return ", ".join(
        f"{packages}: {took:.2f} s ({took / packages * 1e3:.1f} ms each)" for packages, took in known
    )


def _print_total(rows: list[Row], failed: int, *, as_json: bool) -> None:
    ratios = [row.ratio for row in rows if row.ratio is not None]
    apart = [row.question.name for row in rows if not row.is_compared]
    passed = len(rows) - failed - len(apart)
    if as_json:
        total = {"passed": passed, "failed": failed, "not_compared": apart}
        print(json.dumps({**total, "median_ratio": statistics.median(ratios) if ratios else None}))
        return
    if ratios:
        print(f"ratio: median {statistics.median(ratios):.2f}, largest {max(ratios):.2f}")
    if growth := _growth(rows):
        print(f"solver alone, by packages: {growth}")
    if apart:
        print(f"not compared, because uv cannot lock them: {', '.join(apart)}")
    print(f"{passed} passed, {failed} failed")


if __name__ == "__main__":
    sys.exit(main())

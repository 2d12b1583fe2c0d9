"""Run the trials, two sections at a time, and print the table.

    python -m integration.faults [--minutes N] [--only SECTION[:PROGRAM]]... [--no-peers] [--json]
                                 [--quick] [--every]

Exits 1 when pypm has lost anything or come to something wrong. What the peers lose is shown beside it. Real
wheels are downloaded once, into `--folder` where one is given.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from integration import peers
from integration.faults import arena, tracing
from integration.faults.sections import Section, Setup, sections
from integration.faults.table import Row, as_json, rendered
from pypm.files import remove_tree
from tests.support.index_server import IndexServer

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h: orphans of what is started here become our children
_PR_SET_PDEATHSIG = 1  # linux/prctl.h: no section outlives the whole run
_WHOLE_MINUTES = 20
_QUICK = ("kills-at-calls", "crowd")


def main() -> int:
    """Return the exit code."""
    options = _parser().parse_args()
    if options.section:
        return _run_section(options)
    missing = tracing.missing()
    if missing is not None:
        print(f"system calls cannot be traced here: {missing}", file=sys.stderr)
        return 2
    started = time.monotonic()
    place = Path(tempfile.mkdtemp(prefix="pypm-faults-", dir=options.folder))
    try:
        rows = _run_all(options, place)
    finally:
        remove_tree(place)
    _print(rows, options, time.monotonic() - started)
    return 1 if any(row.failed for row in rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="integration.faults")
    parser.add_argument(
        "--minutes",
        type=float,
        default=_WHOLE_MINUTES - 6,
        help="about how long the part that can be cut short may take",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", default=[], help="a section, or SECTION:PROGRAM")
    parser.add_argument("--no-peers", action="store_true", help="pypm alone")
    parser.add_argument("--quick", action="store_true", help="a few trials of each kind, pypm alone")
    parser.add_argument("--every", action="store_true", help="every single call: give it hours by --minutes")
    parser.add_argument("--json", action="store_true", help="the rows as JSON on standard output")
    parser.add_argument("--jobs", type=int, default=2, help="sections at a time")
    parser.add_argument("--folder", type=Path, help="keep the real wheels here")
    parser.add_argument("--section", help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    return parser


def _chosen(options: argparse.Namespace) -> list[Section]:
    listed = [
        section
        for section in sections()
        if not options.only or section.name in options.only or section.key in options.only
    ]
    if options.no_peers or options.quick:
        listed = [section for section in listed if section.program == "pypm"]
    if options.quick and not options.only:
        listed = [section for section in listed if section.name in _QUICK]
    return listed


def _run_all(options: argparse.Namespace, place: Path) -> list[Row]:
    chosen = _chosen(options)
    if any(section.program == "pip" for section in chosen):
        peers.pip(place / "pip")
    if not options.quick and any(section.name == "random-kills" for section in chosen):
        arena.real_wheels(_wheels(options, place))
    with ThreadPoolExecutor(options.jobs) as pool:
        found = list(pool.map(lambda section: _started(options, place, section), chosen))
    return [row for rows in found for row in rows]


def _wheels(options: argparse.Namespace, place: Path) -> Path:
    return Path(options.folder or place) / "wheels"


def _started(options: argparse.Namespace, place: Path, section: Section) -> list[Row]:
    """Run a section as a process of its own: it reaps all that it starts, and looks for orphans."""
    folder = place / section.key.replace(":", "-")
    folder.mkdir()
    (folder / "pip").symlink_to(place / "pip")
    (folder / "wheels").symlink_to(_wheels(options, place))
    words = ["--section", section.key, "--place", str(folder), "--minutes", str(options.minutes)]
    words += ["--seed", str(options.seed), *(["--quick"] if options.quick else [])]
    words += ["--every"] if options.every else []
    done = subprocess.run(
        [sys.executable, "-m", "integration.faults", *words],
        cwd=peers.CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    rows = [
        Row(**{**data, "wrong": tuple(data["wrong"])}) for data in map(json.loads, done.stdout.splitlines())
    ]
    if done.returncode != 0:
        broken = (f"the section ended with {done.returncode}",)
        rows.append(Row(fault=section.name, program=section.program, trials=1, wrong=broken))
    remove_tree(folder)
    return rows


def _run_section(options: argparse.Namespace) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    section = next(section for section in sections() if section.key == options.section)
    with IndexServer() as server:
        setup = Setup(
            place=options.place,
            program=section.program,
            server=server,
            seconds=60 * section.share * options.minutes / _WHOLE_MINUTES,
            seed=options.seed,
            quick=options.quick,
            every=options.every,
            wheels=options.place / "wheels",
        )
        for row in section.run(setup):
            print(json.dumps(asdict(row)), flush=True)
            sys.stderr.write(f"{row.program:5} {row.fault}: {row.cell}\n")
            for told in row.wrong[:5]:
                sys.stderr.write(f"      {told[:700]}\n")
    return 0


def _print(rows: list[Row], options: argparse.Namespace, seconds: float) -> None:
    if options.json:
        print(as_json(rows))
        return
    failed = sum(row.failed for row in rows)
    trials = sum(row.trials for row in rows if row.program == "pypm")
    print(rendered(rows))
    print(f"\n{seconds:.0f} s, seed {options.seed}, {os.cpu_count()} processors")
    print(f"{trials - failed} passed, {failed} failed")


if __name__ == "__main__":
    sys.exit(main())

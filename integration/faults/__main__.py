"""Run the trials and print a row for each.

    python -m integration.faults [--trials N] [--seed N] [--peer uv] [--tiny] [--folder DIR]

Exits 1 when anything was lost or wrong. Real wheels are downloaded once, into `--folder` where one is given.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from integration.faults import arena
from integration.faults.crowd import Crowd
from integration.faults.kills import Killing, Verdict, draw
from pypm.files import remove_tree
from tests.support.index_server import Archive, Fault, IndexServer

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h: orphans of what is started here become our children
_DRIP = Fault(drip_seconds=0.01, drip_bytes=128 << 10)
"""Some ten megabytes a second: downloads take long enough to be hit."""


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="integration.faults")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peer", choices=["uv"], help="put uv to the same trials")
    parser.add_argument("--tiny", action="store_true", help="wheels made on the spot instead of real ones")
    parser.add_argument("--no-crowd", action="store_true", help="kills only")
    parser.add_argument("--folder", type=Path, help="keep the real wheels here")
    options = parser.parse_args()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    place = Path(tempfile.mkdtemp(prefix="pypm-faults-", dir=options.folder))
    try:
        wheels = options.folder / "wheels" if options.folder else place / "wheels"
        archives = arena.tiny_wheels() if options.tiny else arena.real_wheels(wheels)
        return _run(options, place, archives)
    finally:
        remove_tree(place)


def _run(options: argparse.Namespace, place: Path, archives: list[Archive]) -> int:
    passed = failed = 0
    started = time.monotonic()
    with IndexServer() as server:
        for archive in archives:
            server.add(archive.filename.split("-")[0].lower().replace("_", "-"), archive)
            server.fault(f"/{server.file_path(archive)}", _DRIP)
        for verdict in _verdicts(options, place, server):
            print(verdict.row, flush=True)
            # What the peer loses is shown beside ours, it does not fail us.
            if verdict.wrong and not verdict.row.startswith("uv"):
                failed += 1
            elif not verdict.wrong:
                passed += 1
    print(f"{time.monotonic() - started:.0f} s, seed {options.seed}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _verdicts(options: argparse.Namespace, place: Path, server: IndexServer) -> Iterator[Verdict]:
    pyproject = arena.pyproject_text(tiny=options.tiny)
    trials = draw(options.trials, options.seed)
    programs = [arena.pypm(place / "pypm", pyproject, server)]
    if options.peer:
        programs.append(arena.uv(place / "uv", pyproject, server))
    for program in programs:
        killing = Killing(program, server)
        print(killing.calibrate(), flush=True)
        verdicts = []
        for trial in trials:
            verdicts.append(killing.run(trial))
            yield verdicts[-1]
        wrong = sum(bool(verdict.wrong) for verdict in verdicts)
        print(f"{program.name}: {len(verdicts)} kills, {wrong} with something lost or wrong", flush=True)
    if not options.no_crowd:
        crowd = Crowd(place / "crowd", pyproject, server)
        yield crowd.run(days=30)
        yield crowd.run(days=0)


if __name__ == "__main__":
    sys.exit(main())

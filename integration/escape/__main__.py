"""`python -m integration.escape`: let every attack try, and print what came of it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from integration.escape.harness import WAYS, Arena, Result, attacks, attempt, lets_in
from integration.peers import bubblewrap


def main() -> int:
    """Exit 0 if nothing escaped and everything that must work did."""
    options = _parser().parse_args()
    if options.user and os.geteuid() != 0:
        raise SystemExit("only root can attack as somebody else")
    peer = bubblewrap() if options.peer == "bwrap" else None
    place = Path(tempfile.mkdtemp(prefix="escape-", dir="/tmp"))
    place.chmod(0o755)
    arena = Arena(place=place, user=options.user, landlock=options.landlock)
    results: list[Result] = []
    try:
        arena.make()
        for attack in attacks(options.attack):
            found = [attempt(arena, attack, way) for way in options.via or ["run"] if lets_in(attack, way)]
            if peer is not None and lets_in(attack, "bwrap") and not hasattr(attack, "outside"):
                found.append(attempt(arena, attack, "bwrap", peer))
            results += found
            if not options.json:
                _print(found, landlock=options.landlock, verbose=options.verbose)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    own = [result for result in results if result.rung != "bwrap"]
    failed = [result for result in own if result.verdict not in ("denied", "less")]
    if options.json:
        print(json.dumps([{**asdict(result), "verdict": result.verdict} for result in results], indent=1))
    weaker = sum(result.verdict == "less" for result in own)
    told = f"{len(own) - len(failed)} passed, {len(failed)} failed" + (
        f"; in {weaker} of those that passed the rung promises less, as stated" if weaker else ""
    )
    print(told, file=sys.stderr if options.json else None)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m integration.escape", description=main.__doc__)
    add = parser.add_argument
    add("attack", nargs="*", help="only these")
    add("--as", dest="user", metavar="USER", help="as this user; only root can say so")
    add("--via", action="append", choices=WAYS, help="how the attacker gets in (default: run)")
    add("--landlock", action="store_true", help="under the weaker isolation")
    add("--peer", choices=("bwrap",), help="the same attacks against bubblewrap with its usual flags")
    add("--json", action="store_true")
    add("-v", "--verbose", action="store_true", help="every check, not only those that failed")
    return parser


def _print(results: list[Result], *, landlock: bool, verbose: bool) -> None:
    for result in results:
        rung = "bwrap" if result.rung == "bwrap" else "landlock" if landlock else "namespaces"
        print(
            f"{result.attack:26} {rung:10} {result.rung:6} {result.verdict:8} {result.seconds:5.1f} s",
            flush=True,
        )
        reasons: dict[str, list[str]] = {}
        for check in result.checks:
            if check.verdict == "less":
                reasons.setdefault(check.detail, []).append(check.name)
        for reason, names in reasons.items():
            print(f"    less     {reason}: {', '.join(dict.fromkeys(names))}")
        for check in result.checks:
            expected = check.verdict in ("denied", "works", "less")
            if verbose or (not expected and result.rung != "bwrap"):
                print(f"    {check.verdict:8} {check.name}: {check.detail}")


if __name__ == "__main__":
    sys.exit(main())

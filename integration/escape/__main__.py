"""`python -m integration.escape`: let every attack try, and print what came of it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from integration.escape.arena import Arena
from integration.escape.harness import (
    Result,
    attacks,
    attempt,
    attempt_all,
    attempt_under_bubblewrap,
    lets_in,
)
from integration.escape.ways import WAYS
from integration.peers import bubblewrap

_PEER = "bwrap"


def main() -> int:
    """Exit 0 if nothing escaped and everything that must work did."""
    options = _parser().parse_args()
    if options.user and os.geteuid() != 0:
        raise SystemExit("only root can attack as somebody else")
    attacks(options.attack)
    peer = bubblewrap() if options.peer else None
    ways = (*(options.via or WAYS), *([_PEER] if peer else []))
    turns = [
        _Turn(
            way=way,
            names=tuple(options.attack),
            user=options.user,
            landlock=options.landlock,
            alone=options.alone,
            peer=peer,
        )
        for way in ways
    ]
    with ProcessPoolExecutor(max_workers=options.jobs) as pool:
        results = [result for found in pool.map(_let_in, turns) for result in found]
    order = {name: place for place, name in enumerate(ways)}
    results.sort(key=lambda result: (result.attack, order[result.way]))
    own = [result for result in results if result.way != _PEER]
    failed = [result for result in own if not _is_as_stated(result)]
    attacked = [result for result in own if not result.limit]
    weaker = sum(result.verdict == "less" for result in attacked)
    if options.json:
        print(json.dumps([{**asdict(result), "verdict": result.verdict} for result in results], indent=1))
    elif options.less:
        print("\n".join(_less_table(attacked)))
    else:
        print("\n".join(_lines(results, ways, verbose=options.verbose)))
    passed = sum(_is_as_stated(result) for result in attacked)
    told = f"{passed} passed, {len(failed)} failed" + (
        f"; in {weaker} of those that passed the rung promises less, as stated" if weaker else ""
    )
    print(told, file=sys.stderr if options.json or options.less else None)
    return 1 if failed else 0


def _is_as_stated(result: Result) -> bool:
    """Whether an attack was denied, as far as the rung promises; a limit may get through.

    One that is denied after all harms nobody: some are, by a rung that forbids more than is wanted.
    """
    return result.verdict in ("denied", "less") or bool(result.limit and result.verdict == "open")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """All attacks by one way, in an arena of their own."""

    way: str
    names: tuple[str, ...]
    user: str | None
    landlock: bool
    alone: bool
    peer: Path | None


def _let_in(turn: _Turn) -> list[Result]:
    # Below `/tmp` Landlock, the wall behind the mounts, lets everything be written, as the sandbox's own is.
    place = Path(tempfile.mkdtemp(prefix="escape-", dir="/var/tmp"))
    place.chmod(0o755)
    arena = Arena(place=place, user=turn.user, landlock=turn.landlock)
    try:
        arena.make()
        chosen = attacks(turn.names)
        if turn.way == _PEER and turn.peer is not None:
            able = [each for each in chosen if lets_in(each, _PEER) and not hasattr(each, "outside")]
            return [attempt_under_bubblewrap(arena, each, turn.peer) for each in able]
        if turn.alone:
            return [attempt(arena, each, turn.way) for each in chosen if lets_in(each, turn.way)]
        return list(attempt_all(arena, chosen, turn.way))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m integration.escape", description=main.__doc__)
    add = parser.add_argument
    add("attack", nargs="*", help="only these")
    add("--as", dest="user", metavar="USER", help="as this user; only root can say so")
    add("--via", action="append", choices=WAYS, help="how the attacker gets in (default: all ways)")
    add("--landlock", action="store_true", help="under the weaker rung, where namespaces are denied")
    add("--peer", choices=(_PEER,), help="the same attacks against bubblewrap with its usual flags")
    add("--alone", action="store_true", help="each attack in a sandbox of its own, harmless or not")
    add("--jobs", type=int, default=2, metavar="N", help="ways that are tried at the same time (default: 2)")
    add("--less", action="store_true", help="print the table of what the rung does not deny, by name")
    add("--json", action="store_true")
    add("-v", "--verbose", action="store_true", help="every check, not only those that failed")
    return parser


def _lines(results: Sequence[Result], ways: Sequence[str], *, verbose: bool) -> Iterator[str]:
    """The table of the attacks, and after it that of the limits."""
    yield from _table("attack", [result for result in results if not result.limit], ways, verbose=verbose)
    if limits := [result for result in results if result.limit]:
        yield ""
        yield from _table("beyond the promise", limits, ways, verbose=verbose)
        yield ""


def _table(title: str, results: Sequence[Result], ways: Sequence[str], *, verbose: bool) -> Iterator[str]:
    """One line an attack, one column a way; below it what failed or is less, and why a limit is one."""
    yield " ".join([f"{title:24}", *(f"{way:9}" for way in ways)]).rstrip()
    for attack in dict.fromkeys(result.attack for result in results):
        by_way = {result.way: result for result in results if result.attack == attack}
        cells = [by_way[way].verdict if way in by_way else "-" for way in ways]
        yield " ".join([f"{attack:24}", *(f"{cell:9}" for cell in cells)]).rstrip()
        yield from _details(by_way, verbose=verbose)


def _details(by_way: Mapping[str, Result], *, verbose: bool) -> Iterator[str]:
    """What there is to say of one attack; checks that have the reason in common stand behind it."""
    reasons: dict[tuple[str, str], dict[str, None]] = {}
    for way, result in by_way.items():
        for check in result.checks:
            if check.verdict == "less":
                reasons.setdefault(("less", check.detail), {})[check.name] = None
            elif check.verdict == "open":
                reasons.setdefault(("open", result.limit), {})[check.name] = None
            elif verbose or (check.verdict not in ("denied", "works") and way != _PEER):
                yield f"    {way}: {check.verdict}: {check.name}: {check.detail}"
    for (verdict, reason), names in reasons.items():
        yield f"    {verdict}: {reason}: {', '.join(names)}"


def _less_table(results: Sequence[Result]) -> Iterator[str]:
    """What the rung does not deny, and what is missing there: attack, checks, ways, reason."""
    rows: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    for result in results:
        for check in result.checks:
            if check.verdict == "less":
                names, ways = rows.setdefault((result.attack, check.detail), ([], []))
                names.append(check.name)
                ways.append(result.way)
    yield "| attack | checks | by | why |"
    yield "|---|---|---|---|"
    for (attack, reason), (names, ways) in sorted(rows.items()):
        told = ", ".join(dict.fromkeys(names))
        yield f"| `{attack}` | {told} | {', '.join(dict.fromkeys(ways))} | {reason} |"


if __name__ == "__main__":
    sys.exit(main())

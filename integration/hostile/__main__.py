"""Put every hostile archive to pypm and to the installers beside it, and print a row for each.

    python -m integration.hostile [CASE...] [--peers] [--markdown | --json]

Exits 1 when pypm installed one of them, failed without saying why, or refused a good one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from integration.hostile.contestants import INSTALLED, OUTSIDE, REFUSED, Answer, Contestant, ask_pypm, others
from pypm.files import remove_tree
from tests.support import hostile_sdists, hostile_wheels
from tests.support.wheels import Entry

FULL_SIZE = {"bomb by ratio": hostile_wheels.named(Entry("zeros", bytes(96 << 20))), "many entries": None}
"""In place of cases that the tests' own, smaller limits refuse; 200,000 files are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One archive."""

    name: str
    filename: str
    content: bytes
    is_good: bool = False

    @property
    def project(self) -> str:
        return self.filename.split("-")[0]


def cases(folder: Path) -> Iterator[Case]:
    """Yield the archives that the tests know, hostile ones first."""
    for name, (_, build) in hostile_wheels.CASES.items():
        content = FULL_SIZE[name] if name in FULL_SIZE else build()
        if content is not None:
            yield Case(name=name, filename=hostile_wheels.GOOD.filename, content=content)
    sdist = folder / "x-1.0.tar.gz"
    for name, (_, members) in hostile_sdists.CASES.items():
        content = hostile_sdists.hostile(sdist, members).read_bytes()
        yield Case(name=name, filename=sdist.name, content=content)
    for name, good in hostile_wheels.ALLOWED.items():
        yield Case(name=name, filename=hostile_wheels.GOOD.filename, content=good(), is_good=True)
    content = hostile_sdists.hostile(sdist, ()).read_bytes()
    yield Case(name="good sdist", filename=sdist.name, content=content, is_good=True)


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="integration.hostile")
    parser.add_argument("case", nargs="*", help="only these")
    parser.add_argument("--peers", action="store_true", help="uv, pip and installer, too")
    parser.add_argument("--markdown", action="store_true", help="as the table of the documentation")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="hostile-")).resolve()
    try:
        contestants = others(place) if options.peers else []
        chosen = [case for case in cases(place) if not options.case or case.name in options.case]
        names = {"pypm": "", **{one.name: one.version for one in contestants}}
        answered = _answers(chosen, place, contestants)
        if options.json:
            return _sum_up(_print_json(answered), sys.stderr)
        return _sum_up(_print_rows(answered, names, markdown=options.markdown), sys.stdout)
    finally:
        remove_tree(place)


Row = tuple[Case, dict[str, Answer]]
"""A case, and what each installer did with it."""


def _answers(chosen: list[Case], place: Path, contestants: list[Contestant]) -> Iterator[Row]:
    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(_ask, case, place / str(number), contestants) for number, case in enumerate(chosen)
        ]
        for case, answer in zip(chosen, asked, strict=True):
            yield case, answer.result()


def _print_json(rows: Iterator[Row]) -> Iterator[Row]:
    done = list(rows)
    print(json.dumps([{"case": case.name, "file": case.filename, "good": case.is_good,
                       **{name: asdict(answer) for name, answer in row.items()}}
                      for case, row in done], indent=1))  # fmt: skip
    yield from done


def _print_rows(rows: Iterator[Row], names: dict[str, str], *, markdown: bool) -> Iterator[Row]:
    if markdown:
        heads = [f"{name} {version}".strip() for name, version in names.items()]
        print("| archive | kind | " + " | ".join(heads) + " |")
        print("|---" * (2 + len(heads)) + "|")
    for case, row in rows:
        kind = "wheel" if case.filename.endswith(".whl") else "sdist"
        cells = [_cell(row[name].what, case) if name in row else "" for name in names]
        if markdown:
            print(f"| {case.name} | {kind} | " + " | ".join(cells) + " |", flush=True)
        else:
            columns = "".join(f"{cell:16}" for cell in cells)
            print(f"{case.name:32} {kind:6} {columns}{row['pypm'].said}", flush=True)
        yield case, row


def _sum_up(rows: Iterator[Row], talk: TextIO) -> int:
    held = [_holds(case, row["pypm"]) for case, row in rows]
    print(f"{sum(held)} passed, {len(held) - sum(held)} failed", file=talk)
    return 0 if all(held) else 1


def _ask(case: Case, place: Path, contestants: list[Contestant]) -> dict[str, Answer]:
    source = place / "archive"
    source.mkdir(parents=True)
    archive = source / case.filename
    archive.write_bytes(case.content)
    answers = {"pypm": ask_pypm(archive, place / "pypm", case.project)}
    for contestant in contestants:
        if archive.name.endswith(contestant.serves):
            answers[contestant.name] = contestant.install(archive, place / contestant.name)
    return answers


def _holds(case: Case, answer: Answer) -> bool:
    if case.is_good:
        return answer.what == INSTALLED
    return answer.what == REFUSED and answer.exit_code in (1, 3) and answer.said.startswith("error:")


def _cell(what: str, case: Case) -> str:
    return f"**{what}**" if what == OUTSIDE or (what == INSTALLED and not case.is_good) else what


if __name__ == "__main__":
    sys.exit(main())

"""Compare verdicts and print a row for each wheel.

    python -m integration.auditwheel [--wheels DIR]

pypm installs PyPA's auditwheel, and pip to download with, into an environment of their own. Real wheels (some
400 MB) are kept in `--wheels` where it is given. Exits 1 when a difference has no reason.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from integration.auditwheel import tables, verdicts, wheels
from integration.auditwheel.differences import reason
from integration.peers import PYPM
from pypm.files import remove_tree


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="integration.auditwheel")
    parser.add_argument("--wheels", type=Path, help="keep the real wheels here")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="pypm-auditwheel-")).resolve()
    try:
        return _run(place, options.wheels or place / "wheels")
    finally:
        remove_tree(place)


def _run(place: Path, folder: Path) -> int:
    environment = _install(place / "tools")
    failed = _compare_tables(place, environment)
    passed = 0 if failed else 1
    auditor, program = environment / "bin" / "auditwheel", verdicts.build(place)
    for wheel in _wheels(place, environment / "bin" / "python", folder):
        theirs, mine = verdicts.pypa(auditor, wheel), verdicts.ours(program, wheel, place / "trees")
        remove_tree(place / "trees")
        why = None if theirs.keeps == mine.keeps else reason(wheel.name, theirs, mine)
        is_fine = theirs.keeps == mine.keeps or why is not None
        passed, failed = passed + is_fine, failed + (not is_fine)
        word = "keeps" if mine.keeps else "breaks"
        state = "agree" if theirs.keeps == mine.keeps else "DIFFER" if why is None else "differ"
        print(f"{state:6} {word:6} {wheel.name}\n         pypa: {theirs.why}; ours: {mine.why}", flush=True)
        if why:
            print(f"         reason: {why}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _install(folder: Path) -> Path:
    folder.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("tools") / "pyproject.toml", folder)
    for command in ("lock", "sync"):
        subprocess.run([str(PYPM), command, "--quiet"], cwd=folder, check=True, stdout=sys.stderr)
    return folder / ".venv"


def _compare_tables(place: Path, environment: Path) -> int:
    """Compare the tables entry by entry; 1 where one differs."""
    policies = next(environment.glob("lib/python3*/site-packages/auditwheel/policy"))
    asked = list(tables.questions(policies))
    answered = tables.answers(tables.build(place), asked)
    different = [one for one, answer in zip(asked, answered, strict=True) if one.is_promised != answer]
    tags = len({one.tag for one in asked})
    print(f"tables: {len(asked)} entries for {tags} tags, {len(different)} different", flush=True)
    for one in different[:20]:
        print(f"         {one.tag}: {one.what}, which PyPA's {'has' if one.is_promised else 'has not'}")
    return 1 if different else 0


def _wheels(place: Path, python: Path, folder: Path) -> Iterator[Path]:
    made = place / "made"
    made.mkdir()
    real = wheels.download(python, folder)
    yield from real
    yield from wheels.retagged(real, made)
    yield from wheels.compiled(made)


if __name__ == "__main__":
    raise SystemExit(main())

"""`python -m integration.suites`: do real test suites come to the same inside as outside?

Each project's sdist is taken from the default index and built by pypm in the sandbox; its tests run once with
`.venv`'s interpreter (outside, with this machine's whole authority) and once with `pypm run`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

from integration.peers import CHECKOUT, PYPM
from integration.suites.projects import PROJECTS, Suite
from pypm.codec.simple import parse_page
from pypm.index.client import Client
from pypm.model.project import DEFAULT_INDEX_URL

_LARGEST_SDIST_BYTES = 64 << 20
_LONGEST_SECONDS = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One way of running the tests."""

    outcomes: dict[str, str]
    """Test to `passed`, `failed`, `error` or `skipped`."""
    seconds: float
    printed: str

    def count(self, outcome: str) -> int:
        """How many tests ended so."""
        return sum(found == outcome for found in self.outcomes.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What one suite came to."""

    suite: str
    outside: Run
    inside: Run
    named: dict[str, str]
    """Tests that differ and are known to, each with the reason."""
    unnamed: tuple[str, ...]
    """Tests that differ and should not."""


def main() -> int:
    """Exit 0 if every difference is one that has a name."""
    parser = argparse.ArgumentParser(prog="python -m integration.suites", description=__doc__)
    parser.add_argument("suite", nargs="*", help="only these")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chosen = [suite for suite in PROJECTS if not options.suite or suite.name in options.suite]
    place = Path(tempfile.mkdtemp(prefix="suites-"))
    try:
        found = list(_compare_all(chosen, place, quiet=options.json))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if options.json:
        print(json.dumps([asdict(comparison) for comparison in found], indent=1))
    return 1 if any(comparison.unnamed for comparison in found) else 0


def _compare_all(suites: list[Suite], place: Path, *, quiet: bool) -> Iterator[Comparison]:
    if not quiet:
        print(f"{'suite':18} {'':8} {'passed':>7} {'failed':>7} {'skipped':>7} {'seconds':>8}")
    for suite in suites:
        project = prepare(suite, place / suite.name)
        comparison = compare(suite, project)
        if not quiet:
            _print(comparison, suite)
        yield comparison


def _print(comparison: Comparison, suite: Suite) -> None:
    for way, run in (("outside", comparison.outside), ("inside", comparison.inside)):
        failed = run.count("failed") + run.count("error")
        counts = f"{run.count('passed'):7} {failed:7} {run.count('skipped'):7} {run.seconds:8.1f}"
        print(f"{suite.name + ' ' + suite.version:18} {way:8} {counts}")
    for test, where in failing(comparison):
        print(f"    fails {where}: {test}")
    for test, reason in sorted(comparison.named.items()):
        print(f"    {test}: {reason}")
    for test in comparison.unnamed:
        outcomes = comparison.outside.outcomes.get(test), comparison.inside.outcomes.get(test)
        print(f"    DIFFERS {test}: outside {outcomes[0]}, inside {outcomes[1]}")
    if comparison.unnamed:
        print(comparison.inside.printed[-4000:])
    sys.stdout.flush()


def failing(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """The tests that fail, each with where it does: `both ways`, `outside` or `inside`."""
    places = {}
    for where, run in (("outside", comparison.outside), ("inside", comparison.inside)):
        for test, outcome in run.outcomes.items():
            if outcome in ("failed", "error"):
                places[test] = "both ways" if test in places else where
    yield from sorted(places.items())


def prepare(suite: Suite, folder: Path) -> Path:
    """Make a project that depends on the sdist and holds its tests; lock and sync it.

    Raises: SystemExit where something of it fails.
    """
    folder.mkdir(parents=True)
    sdist = fetch(suite, folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    project = folder / "project"
    project.mkdir()
    for name in suite.keep:
        source = unpacked / name
        if source.is_dir():
            shutil.copytree(source, project / name)
        elif source.exists():
            shutil.copy(source, project / name)
    extra = f"[{suite.extra}]" if suite.extra else ""
    requirements = [f"{suite.name}{extra} @ {sdist.as_uri()}", *suite.needs]
    (project / "pyproject.toml").write_text(
        f'[project]\nname = "suite-of-{suite.name}"\nversion = "0"\nrequires-python = ">=3.10"\n'
        f"dependencies = {json.dumps(requirements)}\n[tool.pypm]\npackage = false\n"
        '[tool.pytest.ini_options]\ntestpaths = ["tests"]\n'
    )
    for command in ("lock", "sync"):
        done = subprocess.run([PYPM, command], cwd=project, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{suite.name}: `pypm {command}` failed:\n{done.stderr}")
    return project


def fetch(suite: Suite, folder: Path) -> Path:
    """Download the sdist from the default index and compare it with the hash that the index gives."""
    wanted = f"{suite.name}-{suite.version}.tar.gz"
    with Client() as client:
        url = f"{DEFAULT_INDEX_URL}/{suite.name}/"
        answer = client.get_page(url)
        page = parse_page(answer.content, answer.headers.get("content-type", ""), url=url)
        entry = next((file for file in page.files if file.filename == wanted), None)
        if entry is None:
            raise SystemExit(f"the index has no `{wanted}`")
        content = client.get(entry.url, limit_bytes=_LARGEST_SDIST_BYTES).content
    if entry.sha256 != hashlib.sha256(content).hexdigest():
        raise SystemExit(f"`{wanted}` is not what the index says")
    path = folder / wanted
    path.write_bytes(content)
    return path


def compare(suite: Suite, project: Path) -> Comparison:
    """Run the tests both ways and set them side by side."""
    python = str(project / ".venv" / "bin" / "python")
    outside = _run(suite, project, [python, "-m", "pytest"], "outside.xml")
    inside = _run(suite, project, [str(PYPM), "run", "python", "-m", "pytest"], "inside.xml")
    tests = outside.outcomes.keys() | inside.outcomes.keys()
    different = sorted(test for test in tests if outside.outcomes.get(test) != inside.outcomes.get(test))
    named = {
        test: reason
        for test in different
        for prefix, reason in suite.denied.items()
        if test.startswith(prefix)
    }
    unnamed = tuple(test for test in different if test not in named)
    return Comparison(suite=suite.name, outside=outside, inside=inside, named=named, unnamed=unnamed)


def _run(suite: Suite, project: Path, command: list[str], report: str) -> Run:
    """Run the tests one way; a run that ends without a report has no tests in it."""
    words = [*command, *suite.arguments, "-q", f"--junitxml={report}"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ""}
    started = time.monotonic()
    try:
        done = subprocess.run(
            words,
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LONGEST_SECONDS,
            check=False,
        )
        printed = done.stdout
    except subprocess.TimeoutExpired as error:
        printed = f"no end within {error.timeout} s"
    seconds = time.monotonic() - started
    path = project / report
    return Run(outcomes=dict(_outcomes(path)) if path.exists() else {}, seconds=seconds, printed=printed)


def _outcomes(report: Path) -> Iterator[tuple[str, str]]:
    """Each test of a JUnit report with how it ended. Source: pytest's `--junitxml`."""
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        ends = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        yield (
            name,
            {"failure": "failed", "error": "error", "skipped": "skipped"}[ends[0]] if ends else "passed",
        )


if __name__ == "__main__":
    sys.path.insert(0, str(CHECKOUT))
    sys.exit(main())

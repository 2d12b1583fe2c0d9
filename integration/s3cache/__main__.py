"""Run the trials against a real S3 server and print a row for each.

    python -m integration.s3cache [--only NAME] [--sanitize]
    python -m integration.s3cache --bench ROUNDS [--index-line MBIT:MS] [--bucket-line MBIT:MS] ..

pypm installs the server (moto) from the index into an environment of its own; the wheels of that environment
are the artifacts that the machines share. Exits 1 when a trial failed.
"""

from __future__ import annotations

import argparse
import tempfile
import traceback
from contextlib import nullcontext
from pathlib import Path

import tomli

from integration.s3cache.commands import Project, cache_folder
from integration.s3cache.line import parse_shape
from integration.s3cache.machine import Artifact, artifact_of, build_plugins
from integration.s3cache.measure import Plan, measure
from integration.s3cache.server import S3Server, install
from integration.s3cache.trials import TRIALS, TYPED, Arena
from pypm.files import remove_tree
from tests.support.sanitizers import sanitized_hosts


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="integration.s3cache")
    parser.add_argument("--only", action="append", choices=list(TRIALS), help="this trial; can be repeated")
    parser.add_argument(
        "--sanitize",
        action="store_true",
        help="build the plugins with sanitizers and load these in the hosts",
    )
    parser.add_argument(
        "--bench", type=int, default=0, help="measure this many rounds of cold machines instead"
    )
    for end, usual in (("index", "200:5"), ("bucket", "200:5")):
        parser.add_argument(
            f"--{end}-line",
            type=parse_shape,
            default=usual,
            metavar="MBIT:MS",
            help=f"bandwidth and round trip to the {end} ({usual})",
        )
    parser.add_argument(
        "--beside", type=Path, help="fill one more machine with this pypm, such as an earlier one"
    )
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="pypm-s3cache-")).resolve()
    try:
        if options.bench:
            return _measure(place, options)
        names = options.only or [name for name in TRIALS if not options.sanitize or name not in TYPED]
        with sanitized_hosts() if options.sanitize else nullcontext():
            return _run(place, names, sanitized=options.sanitize)
    finally:
        remove_tree(place)


def _run(place: Path, names: list[str], *, sanitized: bool) -> int:
    python = install(place / "server")
    plugins = build_plugins(place / "plugins", sanitized=sanitized)
    passed = failed = 0
    with S3Server(python) as server:
        arena = Arena(
            folder=place,
            plugins=plugins,
            python=python,
            artifacts=_artifacts(python.parents[2]),
            server=server,
        )
        secrets = [keys["AWS_SECRET_ACCESS_KEY"] for keys in (server.writer, server.reader)]
        for name in names:
            try:
                told = TRIALS[name](arena)
                assert not any(secret in told for secret in secrets)
                passed += 1
                print(f"{name:18} ok      {told}", flush=True)
            except Exception as error:  # Whatever goes wrong in one trial, the others are run.
                failed += 1
                print(f"{name:18} FAILED  {error}", flush=True)
                if not isinstance(error, AssertionError):
                    traceback.print_exc()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _measure(place: Path, options: argparse.Namespace) -> int:
    python = install(place / "server")
    source = python.parents[2]
    plan = Plan(
        project=Project(source=source, place=place / "commands"),
        artifacts=_artifacts(source),
        rounds=options.bench,
        index_line=options.index_line,
        bucket_line=options.bucket_line,
        beside=options.beside,
    )
    with S3Server(python) as server:
        measure(plan, server)
    return 0


def _artifacts(project: Path) -> tuple[Artifact, ...]:
    """The wheels that pypm has downloaded for the server's environment."""
    cache = cache_folder()
    lock = tomli.loads((project / "pypm.lock").read_text(encoding="utf-8"))
    locked = [
        (wheel["hashes"]["sha256"], wheel["name"])
        for package in lock["packages"]
        for wheel in package.get("wheels", ())
    ]
    places = [(cache / "wheels" / sha256[:2] / sha256 / name, sha256) for sha256, name in locked]
    return tuple(artifact_of(path, sha256) for path, sha256 in sorted(places) if path.exists())


if __name__ == "__main__":
    raise SystemExit(main())

"""Run the trials against a real S3 server and print a row for each.

    python -m integration.s3cache [--only NAME] [--bench ROUNDS [--pypm PROGRAM]]

pypm installs the server (moto) from the index into an environment of its own; the wheels of that environment
are the artifacts that the machines share. Exits 1 when a trial failed.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import traceback
from pathlib import Path

import tomli

from integration.peers import PYPM
from integration.s3cache.commands import Project
from integration.s3cache.machine import Artifact, artifact_of, build_plugin
from integration.s3cache.measure import measure
from integration.s3cache.server import S3Server, install
from integration.s3cache.trials import TRIALS, Arena
from pypm.files import remove_tree


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="integration.s3cache")
    parser.add_argument("--only", action="append", choices=list(TRIALS), help="this trial; can be repeated")
    parser.add_argument(
        "--bench", type=int, default=0, help="measure this many pairs of cold machines instead"
    )
    parser.add_argument("--pypm", type=Path, default=PYPM, help="measure this one, such as an earlier pypm")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="pypm-s3cache-")).resolve()
    try:
        if options.bench:
            return _measure(place, options.bench, options.pypm.absolute())
        return _run(place, options.only or list(TRIALS))
    finally:
        remove_tree(place)


def _run(place: Path, names: list[str]) -> int:
    python = install(place / "server")
    plugins = build_plugin(place / "plugins")
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


def _measure(place: Path, rounds: int, pypm: Path) -> int:
    python = install(place / "server")
    source = python.parents[2]
    with S3Server(python) as server:
        project = Project(source=source, place=place / "commands", pypm=pypm)
        measure(project, _artifacts(source), server, rounds)
    return 0


def _artifacts(project: Path) -> tuple[Artifact, ...]:
    """The wheels that pypm has downloaded for the server's environment."""
    argv = [str(PYPM), "cache", "dir"]
    cache = Path(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip())
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

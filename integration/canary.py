"""`make canary`: my-lib must install, run, be tested, uninstall, and install again to the same bits.

It works on a copy with a cache of its own, so that "nothing left behind" can be looked at, not hoped for.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from integration.peers import CHECKOUT, PYPM

CANARY = CHECKOUT / "integration" / "my-lib"
MADE_BY_RUNS = {".venv", "__pycache__", ".pytest_cache", ".mypy_cache"}
"""What syncing and running the tools is meant to make; everything else must be as it was."""


class BrokenPromiseError(Exception):
    """A promise that did not hold."""


def listing(folder: Path) -> dict[str, bytes]:
    """Return every file below `folder` with its content, without what the tools are meant to make."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not MADE_BY_RUNS & set(path.relative_to(folder).parts)
    }


class Canary:
    """One copy of the project, one cache, and the commands that a user would type."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "my-lib"
        self.cache = folder / "cache"
        ignored = shutil.ignore_patterns(*MADE_BY_RUNS)
        shutil.copytree(CANARY, self.project, ignore=ignored)

    def pypm(self, *argv: str) -> str:
        """Type one command; return what it printed on both streams.

        Raises:
            BrokenPromiseError: it did not exit 0.
        """
        print(f"$ pypm {' '.join(argv)}", flush=True)
        started = time.perf_counter()
        done = subprocess.run(
            [PYPM, *argv],
            cwd=self.project,
            env={**os.environ, "PYPM_CACHE_DIR": str(self.cache)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        lines = done.stdout.splitlines()
        shown = lines if len(lines) <= 14 else [*lines[:2], f"... {len(lines) - 12} lines", *lines[-10:]]
        for line in shown:
            print(f"    {line}")
        print(f"    [{time.perf_counter() - started:.1f} s]", flush=True)
        if done.returncode != 0:
            raise BrokenPromiseError(f"`pypm {' '.join(argv)}` exited {done.returncode}:\n{done.stdout}")
        return done.stdout

    def sync(self) -> str:
        """Sync and return the environment's digest."""
        printed = self.pypm("sync", "--locked")
        found = re.search(r"sha256:[0-9a-f]{64}", printed)
        if found is None:
            raise BrokenPromiseError("`pypm sync` printed no digest")
        return found.group()


def expect(condition: bool, promise: str) -> None:
    """Print a promise that holds; raise for one that does not."""
    if not condition:
        raise BrokenPromiseError(promise)
    print(f"  ok  {promise}", flush=True)


def fly(canary: Canary) -> None:
    """Install, run, test, check, uninstall, install again."""
    before = listing(canary.project)
    first = canary.sync()
    expect(
        "2.3.1" in canary.pypm("run", "python", "-m", "my_lib.demo"), "the demo runs and prints torch 2.3.1"
    )
    expect(" passed" in canary.pypm("run", "pytest"), "its tests pass")
    expect("Success" in canary.pypm("run", "mypy", "src/"), "its types check")
    expect(listing(canary.project) == before, "the project is as it was")
    shutil.rmtree(canary.project / ".venv")
    leftovers = [path.name for path in canary.project.iterdir() if path.name.startswith(".venv")]
    expect(not leftovers, "nothing of the environment is left in the project")
    expect(canary.sync() == first, "a second sync prints the same digest")
    shutil.rmtree(canary.project / ".venv")
    canary.pypm("cache", "clean")
    left = [path for path in canary.cache.rglob("*") if path.is_file()] if canary.cache.exists() else []
    expect(not left, "`pypm cache clean` leaves nothing behind")
    expect(listing(canary.project) == before, "the project is as it was before")


def main() -> int:
    """Return 0 when every promise held."""
    with tempfile.TemporaryDirectory(prefix="pypm-canary-") as folder:
        try:
            fly(Canary(Path(folder)))
        except BrokenPromiseError as failure:
            print(f"canary: {failure}", file=sys.stderr)
            return 1
        finally:
            subprocess.run(["chmod", "-R", "u+w", folder], check=False)
    print("canary: all promises held")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m integration.demo`: a small real project, locked, installed and run as a user would do it.

The project is copied to a temporary place and a home with a secret is made, so that the demonstration shows a
machine where nothing has been set up, and leaves nothing behind. Exit status 1 if anything that must be
denied was allowed, or the other way round.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).with_name("project")
PYPM = Path(sys.executable).with_name("pypm")
SECRET_VARIABLE = "DEMO_SECRET_TOKEN"
SECRET = "a-secret-that-must-not-be-seen"
GRANT = '[tool.pypm.sandbox.run]\nallow-read = ["~/.ssh"]\n'
EXPECTED_CHANGES = ["data/notes.txt", "data/report.txt"]
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One line of `attempts.py`."""

    what: str
    allowed: bool
    expected: bool
    detail: str

    @property
    def is_right(self) -> bool:
        return self.allowed == self.expected

    def __str__(self) -> str:
        outcome = "allowed" if self.allowed else "denied"
        remark = f" ({self.detail})" if self.detail else ""
        return f"  {'ok ' if self.is_right else 'BAD'}  {outcome:<8} {self.what}{remark}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The project's copy and the user who works on it."""

    folder: Path
    environment: dict[str, str]

    def pypm(self, *arguments: str, capture: bool = False, status: int = 0) -> str:
        """Run pypm as typed; its output is shown, or returned when `capture` says so.

        It must end with `status`.
        """
        print(f"\n$ pypm {' '.join(arguments)}", flush=True)
        done = subprocess.run(
            [PYPM, *arguments],
            cwd=self.folder,
            env=self.environment,
            check=False,
            text=True,
            stdout=subprocess.PIPE if capture else None,
            stderr=subprocess.STDOUT if capture and "sync" in arguments else None,
        )
        if done.returncode != status:
            sys.exit(f"{done.stdout or ''}\ndemo: `pypm {arguments[0]}` ended with status {done.returncode}")
        return done.stdout or ""


def main() -> int:
    """Lock, sync, run, attack, and say how it went."""
    if not PYPM.exists():
        sys.exit(f"demo: there is no `{PYPM}`; run `make setup` first")
    with tempfile.TemporaryDirectory(prefix="pypm-demo-") as scratch:
        desk = set_up(Path(scratch))
        desk.pypm("lock")
        print(synced := desk.pypm("sync", capture=True), end="")
        before = snapshot(desk.folder)
        desk.pypm("run", "demo-app", "data/measurements.csv")
        attempts = attack(desk)
        changed = sorted(path for path, _ in before ^ snapshot(desk.folder))
        attempts += grant_itself(desk)
    for attempt in attempts:
        print(attempt)
    return verdict(attempts, changed, _DIGEST.findall(synced))


def set_up(scratch: Path) -> Desk:
    """Copy the project, make a home with a secret key and an environment with a secret variable."""
    folder = scratch / "project"
    ignored = shutil.ignore_patterns(".venv", "__pycache__", "pypm.lock", "report.txt")
    shutil.copytree(PROJECT, folder, ignore=ignored)
    home = scratch / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    (home / ".ssh" / "id_demo").write_text(SECRET, encoding="ascii")
    # Downloads are shared with the user's own cache, so that showing it twice is quick.
    cache = os.environ.get("PYPM_CACHE_DIR") or str(Path.home() / ".cache" / "pypm")
    environment = {
        **os.environ,
        "HOME": str(home),
        "PYPM_CACHE_DIR": cache,
        SECRET_VARIABLE: SECRET,
    }
    for name in ("VIRTUAL_ENV", "XDG_CONFIG_HOME"):
        environment.pop(name, None)
    return Desk(folder=folder, environment=environment)


def attack(desk: Desk) -> tuple[Attempt, ...]:
    """Run `attempts.py` inside, with a server and a process of this machine as its targets."""
    secret = desk.environment["HOME"] + "/.ssh/id_demo"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        command = ("python", "attempts.py", secret, SECRET_VARIABLE, port, str(os.getpid()))
        output = desk.pypm("run", *command, capture=True)
    return tuple(read_attempts(output.splitlines()))


def grant_itself(desk: Desk) -> tuple[Attempt, ...]:
    """Let the project open the home by its own file, as anybody's commit could; see whose word counts."""
    secret = Path(desk.environment["HOME"]) / ".ssh" / "id_demo"
    print(f"\n# a commit adds to pyproject.toml:\n{GRANT}", end="")
    with (desk.folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(GRANT)
    command = ("run", "cat", str(secret))
    before = desk.pypm(*command, capture=True, status=1)
    desk.pypm("trust", "--show")
    desk.pypm("trust", "--yes")
    trusted = desk.pypm(*command, capture=True)
    print(trusted)
    desk.pypm("trust", "--revoke")
    after = desk.pypm(*command, capture=True, status=1)
    read = "reads the home because the project's file says so"
    return (
        Attempt(what=read, allowed=SECRET in before, expected=False, detail="exit 1"),
        Attempt(what=f"{read}, and the user agreed", allowed=SECRET in trusted, expected=True, detail=""),
        Attempt(
            what=f"{read}, and the user agreed no longer", allowed=SECRET in after, expected=False, detail=""
        ),
    )


def read_attempts(lines: Iterable[str]) -> Iterable[Attempt]:
    """Read the lines of `attempts.py`."""
    for line in lines:
        outcome, expected, what, detail = line.split("\t")
        yield Attempt(
            what=what, allowed=outcome == "allowed", expected=expected == "should-be-allowed", detail=detail
        )


def snapshot(folder: Path) -> set[tuple[str, bytes]]:
    """The project's files with their content; bytecode is left out, Python writes it where it likes."""
    return {
        (path.relative_to(folder).as_posix(), path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def verdict(attempts: tuple[Attempt, ...], changed: list[str], digests: list[str]) -> int:
    """Say in a few lines how it went; the exit status."""
    wrong = [attempt.what for attempt in attempts if not attempt.is_right]
    denied = sum(not attempt.allowed for attempt in attempts)
    print(f"\n{len(attempts)} attempts: {denied} denied, {len(attempts) - denied} allowed")
    print(f"changed in the project: {', '.join(changed)}")
    print(f"environment digest: {digests[-1] if digests else 'not printed'}")
    if not attempts or wrong:
        print(f"demo: went the wrong way: {', '.join(wrong) or 'every attempt'}")
        return 1
    if changed != EXPECTED_CHANGES or not digests:
        print(f"demo: expected {', '.join(EXPECTED_CHANGES)} to change, and a digest")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

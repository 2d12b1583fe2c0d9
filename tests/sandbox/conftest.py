"""What the tests of real runs share: the three ways to launch, and a policy that ordinary programs like."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import sandbox

ROOT = Path(__file__).parents[2]
ENVIRONMENT = (("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a run printed and returned."""

    returncode: int
    stdout: str
    stderr: str


def run_spawned(policy: sandbox.Policy, argv: tuple[str, ...], cwd: str = "/") -> Ended:
    """Through the helper interpreter."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        command = sandbox.Command(argv=argv, cwd=cwd, stdout=out.fileno(), stderr=err.fileno())
        status = sandbox.run(policy, command)
        out.seek(0)
        err.seek(0)
        return Ended(returncode=status.returncode, stdout=out.read().decode(), stderr=err.read().decode())


REPLAY = """
import marshal, sys
sys.path.insert(0, sys.argv[1])
from sandbox.linux.launch import replay
with open(sys.argv[2], "rb") as stream:
    plan = marshal.load(stream)
sys.exit(replay(plan, tuple(sys.argv[4:]), sys.argv[3]))
"""


FORK = """
import marshal, sys
sys.path.insert(0, sys.argv[1])
from sandbox import fork_plan
with open(sys.argv[2], "rb") as stream:
    plan = marshal.load(stream)
process = fork_plan(plan, tuple(sys.argv[4:]), (0, 1, 2), sys.argv[3]).as_process()
sys.exit(process.wait().returncode)
"""


def run_replayed(policy: sandbox.Policy, argv: tuple[str, ...], cwd: str = "/") -> Ended:
    """Through `prepare` and `replay` in a program of its own, whose environment holds a secret."""
    return _run_program(REPLAY, policy, argv, cwd)


def run_forked(policy: sandbox.Policy, argv: tuple[str, ...], cwd: str = "/") -> Ended:
    """The same through `fork_plan`."""
    return _run_program(FORK, policy, argv, cwd)


def _run_program(program: str, policy: sandbox.Policy, argv: tuple[str, ...], cwd: str) -> Ended:
    with tempfile.NamedTemporaryFile(suffix=".plan") as stored:
        stored.write(marshal.dumps(sandbox.prepare(policy)))
        stored.flush()
        arguments = [sys.executable, "-I", "-c", program, str(ROOT), stored.name, cwd, *argv]
        environment = {**os.environ, "SECRET_TOKEN": "hunter2-environment"}
        done = subprocess.run(arguments, capture_output=True, env=environment, check=False, timeout=30)
    return Ended(returncode=done.returncode, stdout=done.stdout.decode(), stderr=done.stderr.decode())


@pytest.fixture(params=[run_spawned, run_replayed, run_forked], ids=["spawn", "replay", "fork"])
def launch(request: pytest.FixtureRequest) -> object:
    """All ways to launch; skipped only where the probe says that there is no sandbox."""
    _require()
    return request.param


def _require() -> None:
    host = sandbox.probe()
    if not host.namespaces:
        pytest.skip(f"no namespaces here: {host.cause}")


@pytest.fixture
def namespaces() -> None:
    """The test makes real sandboxes."""
    _require()


@pytest.fixture
def project() -> Iterator[Path]:
    """A directory that every user can reach, unlike pytest's own below a private base."""
    with tempfile.TemporaryDirectory(prefix="project-") as name:
        yield Path(name).resolve()


def policy(*mounts: sandbox.Mount, **fields: object) -> sandbox.Policy:
    """A usual policy."""
    values = {"mounts": mounts, "environment": ENVIRONMENT, "home": "/home/sandbox", **fields}
    return sandbox.Policy(**values)  # type: ignore[arg-type]


def names(directory: Path) -> list[str]:
    """What is in a directory, sorted."""
    return sorted(path.name for path in directory.iterdir())


def shell(script: str) -> tuple[str, ...]:
    """A shell script as argv."""
    return ("/bin/sh", "-c", script)


def python(script: str) -> tuple[str, ...]:
    """A script for the system's interpreter, the one that is below `/usr`."""
    return ("/usr/bin/python3", "-I", "-c", script)

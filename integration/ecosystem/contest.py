"""Each program with a cold cache of its own, in alternation; time, memory and what it locked."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from integration.ecosystem.pins import Pins, our_constraints, our_pins, their_pins
from integration.ecosystem.question import Question
from integration.peers import PYPM, uv, uv_environment

KEPT = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What every run of a contest has in common."""

    exclude_newer: str | None = None
    default_index: str | None = None
    resolution: str | None = None
    """None leaves it to each project."""
    no_build: bool = False
    runs: int = 1
    timeout_seconds: float = 600.0

    def options(self) -> list[str]:
        """Return the flags; both programs call them alike."""
        options = ["--resolution", self.resolution] if self.resolution else []
        if self.no_build:
            options.append("--no-build")
        if self.exclude_newer:
            options += ["--exclude-newer", self.exclude_newer]
        if self.default_index:
            options += ["--default-index", self.default_index]
        return options


@dataclass(slots=True)
class Result:
    """What one program did."""

    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    pins: Pins | None = None
    constraints: list[str] = field(default_factory=list)
    """The pins as requirements with markers, of our lock."""
    forks: int = 0
    trouble: str = ""

    @property
    def median_seconds(self) -> float | None:
        return statistics.median(self.seconds) if self.seconds and not self.trouble else None


def ours(question: Question, terms: Terms, result: Result) -> None:
    """Lock with pypm once, cold."""
    with tempfile.TemporaryDirectory(prefix="ecosystem-") as text:
        folder = question.write(Path(text) / "project")
        cache = Path(text) / "cache"
        start = (PYPM, "--no-config", "--no-progress", "--cache-dir", cache)
        argv = (*start, "lock", *terms.options())
        if _run(argv, folder, {}, terms, result):
            result.pins, result.forks = our_pins(folder)
            result.constraints = our_constraints(folder)


def theirs(question: Question, terms: Terms, result: Result) -> None:
    """Lock with uv once, cold."""
    with tempfile.TemporaryDirectory(prefix="ecosystem-") as text:
        folder = question.write(Path(text) / "project")
        settings = uv_environment(Path(text))
        start = (uv(), "--no-progress", "--color", "never", "lock")
        argv = (*start, *_python(question), *terms.options())
        if _run(argv, folder, settings, terms, result):
            result.pins, result.forks = their_pins(folder)


def contest(question: Question, terms: Terms, *, peer: bool) -> tuple[Result, Result | None]:
    """Let both lock a project, `terms.runs` times in turn, swapping who goes first."""
    first, second = Result(), Result() if peer else None
    for number in range(terms.runs):
        if second is not None and number % 2:
            theirs(question, terms, second)
        ours(question, terms, first)
        if second is not None and number % 2 == 0:
            theirs(question, terms, second)
        if first.trouble or (second is not None and second.trouble):
            break
    return first, second


def solver_seconds(question: Question, terms: Terms) -> float | None:
    """Return what solving alone takes, every answer of the network at hand; None where it cannot be told."""
    with tempfile.TemporaryDirectory(prefix="ecosystem-") as text:
        folder = question.write(Path(text) / "project")
        chosen = {
            "resolution": terms.resolution,
            "exclude_newer": terms.exclude_newer,
            "default_index": terms.default_index,
            "no_build": ["*"] if terms.no_build else [],
        }
        argv = [sys.executable, "-m", "integration.ecosystem.solver", str(folder), json.dumps(chosen)]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
    return float(done.stdout) if done.returncode == 0 else None


def _python(question: Question) -> list[str]:
    """Name an interpreter that the project admits: uv builds with it, and must not download one."""
    from packaging.specifiers import SpecifierSet

    from pypm.environment.interpreters import find_interpreter
    from pypm.errors import InterpreterError

    with tempfile.TemporaryDirectory(prefix="interpreters-") as known:
        try:
            found = find_interpreter(SpecifierSet(question.requires_python), None, Path(known) / "known")
        except InterpreterError:
            return []
    return ["--python", str(found.executable)]


def _run(
    argv: Sequence[object], folder: Path, settings: Mapping[str, str], terms: Terms, result: Result
) -> bool:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    # A date without a zone means the same day to both.
    environment = {**kept, "TZ": "UTC", **settings}
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(
            [*map(str, argv)], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        used = _waited(process, started + terms.timeout_seconds)
        elapsed = time.perf_counter() - started
        if process.returncode != 0 or used is None:
            said.seek(0)
            text = said.read().decode(errors="replace").strip()
            result.trouble = text if used is not None else f"stopped after {terms.timeout_seconds:.0f} s"
            return False
    result.seconds.append(elapsed)
    result.peak_bytes = max(result.peak_bytes, used.ru_maxrss * 1024)
    return True


def _waited(process: subprocess.Popen[bytes], deadline: float) -> resource.struct_rusage | None:
    """Wait for a process and return what it used; None when it was ended at the deadline."""
    while True:
        number, status, used = os.wait4(process.pid, os.WNOHANG)
        if number:
            process.returncode = os.waitstatus_to_exitcode(status)
            return used
        if time.perf_counter() > deadline:
            process.kill()
            process.wait()
            return None
        time.sleep(0.005)

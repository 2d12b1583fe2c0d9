"""uv's answer to a scenario, on the same index."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from integration.peers import uv, uv_environment
from integration.scenarios.answers import Answer, Pins, requires_python
from integration.scenarios.model import Scenario
from pypm.environment.interpreters import find_interpreter

NO_ANSWER = (
    "No solution found",
    "not found in the package registry",
    "unsatisfiable",
    "there are no versions",
)


def ask_uv(scenario: Scenario, index: str) -> Answer:
    """Return what uv locks (universal) or compiles (one environment)."""
    with tempfile.TemporaryDirectory(prefix="scenario-uv-") as text:
        folder = Path(text)
        started = time.perf_counter()
        ran = _lock(scenario, index, folder) if _locks(scenario) else _compile(scenario, index, folder)
        seconds = time.perf_counter() - started
        if ran.returncode:
            if any(sign in ran.stderr for sign in NO_ANSWER):
                return Answer(pins=None, explanation=ran.stderr.strip(), seconds=seconds)
            return Answer(pins=None, trouble=f"uv: {ran.stderr.strip()}", seconds=seconds)
        exported = (
            _run(["export", "--frozen", "--no-hashes", "--all-extras"], folder) if _locks(scenario) else ran
        )
        return Answer(pins=_pins(exported.stdout), seconds=seconds)


def _locks(scenario: Scenario) -> bool:
    return scenario.universal and not scenario.is_compile


def _lock(scenario: Scenario, index: str, folder: Path) -> subprocess.CompletedProcess[str]:
    dependencies = "\n".join(f"    {text!r}," for text in scenario.requires)
    tables = [
        f"{key} = {list(texts)!r}"
        for key, texts in (
            ("environments", scenario.environments),
            ("required-environments", scenario.required_environments),
            ("constraint-dependencies", scenario.constraints),
            ("override-dependencies", scenario.overrides),
        )
        if texts
    ]
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "project"\nversion = "0.1.0"\nrequires-python = "{requires_python(scenario)}"\n'
        f"dependencies = [\n{dependencies}\n]\n[tool.uv]\npackage = false\n" + "\n".join([*tables, ""]),
        encoding="utf-8",
    )
    python = find_interpreter(requires_python(scenario), None, folder / "interpreters").executable
    return _run(["lock", "--python", str(python), "--default-index", index, *_options(scenario)], folder)


def _compile(scenario: Scenario, index: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "requirements.in").write_text("\n".join(scenario.requires) + "\n", encoding="utf-8")
    arguments = ["pip", "compile", "requirements.in", "--no-annotate", "--no-header"]
    arguments += ["--default-index", index, "--python-version", scenario.target_python]
    if scenario.universal:
        arguments.append("--universal")
    elif scenario.platform:
        arguments += ["--python-platform", scenario.platform]
    return _run([*arguments, *_options(scenario)], folder)


def _options(scenario: Scenario) -> list[str]:
    options = ["--resolution", scenario.resolution]
    if scenario.prerelease != "if-necessary":
        options += ["--prerelease", scenario.prerelease]
    only, none = (
        ("--no-build-package", "--no-binary-package")
        if _locks(scenario)
        else ("--only-binary", "--no-binary")
    )
    options += [part for name in scenario.no_build for part in (only, name)]
    options += [part for name in scenario.no_binary for part in (none, name)]
    return options


def _run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {**kept, **uv_environment(folder)}
    return subprocess.run(
        [uv(), "--no-progress", "--color", "never", *arguments],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )


def _pins(exported: str) -> Pins:
    pins: Pins = {}
    for line in exported.splitlines():
        if line.strip() and not line.lstrip().startswith(("#", "-")):
            requirement = Requirement(line.strip().rstrip("\\"))
            version = next(iter(requirement.specifier)).version
            pins[(canonicalize_name(requirement.name), version)] = requirement.marker
    return pins

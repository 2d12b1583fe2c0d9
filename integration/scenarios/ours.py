"""Our answer to a scenario, through the real client: a lock where the scenario is universal, else one
environment."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from integration.scenarios.answers import Answer, Pins, requires_python
from integration.scenarios.model import Scenario
from integration.scenarios.targets import target_for
from pypm.codec.lockfile import load_lock
from pypm.errors import PypmError, ResolutionError
from pypm.resolve.inputs import Inputs, Preference
from pypm.resolve.solve import resolve
from pypm.workflow.answers import open_provider
from pypm.workflow.context import Context
from pypm.workflow.lock import LockRequest, lock
from pypm.workflow.report import SilentReporter
from pypm.workflow.settings import Overrides, load_settings


def ask_ourselves(scenario: Scenario, index: str) -> Answer:
    """Return our answer, and whether asking again gives the same."""
    answering = _lock if scenario.universal else _resolve
    with tempfile.TemporaryDirectory(prefix="scenario-") as text:
        folder = Path(text)
        _write_project(scenario, folder)
        started = time.perf_counter()
        try:
            answer = answering(scenario, index, folder)
        except ResolutionError as error:
            lines = [error.message, *error.details, *([f"hint: {error.hint}"] if error.hint else [])]
            return Answer(pins=None, explanation="\n".join(lines), seconds=time.perf_counter() - started)
        except PypmError as error:
            return Answer(pins=None, trouble=f"{error.reference}: {error.message}")
        return answer


def _write_project(scenario: Scenario, folder: Path) -> None:
    dependencies = "\n".join(f"    {text!r}," for text in scenario.requires)
    python = requires_python(scenario) if scenario.universal else f">={scenario.target_python}"
    tables = [
        f"{key} = {list(texts)!r}"
        for key, texts in (
            ("environments", scenario.environments),
            ("required-environments", scenario.required_environments),
            ("constraints", scenario.constraints),
            ("overrides", scenario.overrides),
        )
        if texts
    ]
    names = [f"no-build-package = {list(scenario.no_build)!r}"] if scenario.no_build else []
    names += [f"no-binary-package = {list(scenario.no_binary)!r}"] if scenario.no_binary else []
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "project"\nversion = "0.1.0"\nrequires-python = "{python}"\n'
        f"dependencies = [\n{dependencies}\n]\n[tool.pypm]\npackage = false\n"
        f'resolution = "{scenario.resolution}"\nprerelease = "{scenario.prerelease}"\n'
        + "\n".join([*names, *tables, ""]),
        encoding="utf-8",
    )


@contextmanager
def _context(index: str, folder: Path) -> Iterator[Context]:
    overrides = Overrides(project=folder, no_config=True, cache_dir=folder / "cache", default_index=index)
    settings = load_settings(overrides, {})
    try:
        with Context(settings, SilentReporter()) as context:
            yield context
    finally:
        # A prefetch that nobody waits for may still write to the cache, which is about to be removed.
        for thread in threading.enumerate():
            if thread.name.startswith("index"):
                thread.join(timeout=10)


def _lock(scenario: Scenario, index: str, folder: Path) -> Answer:
    started = time.perf_counter()
    with _context(index, folder) as context:
        first = lock(context, LockRequest())
    seconds = time.perf_counter() - started
    written = (folder / "pypm.lock").read_bytes()
    with _context(index, folder) as context:
        lock(context, LockRequest(refresh=True))  # A lock that fits is not resolved again otherwise.
    again = (folder / "pypm.lock").read_bytes()
    pins: Pins = {(p.name, str(p.version)): p.marker for p in load_lock(written).packages}
    forks = tuple(str(fork) for fork in first.lock.forks)
    return Answer(pins=pins, forks=forks, seconds=seconds, stable=written == again)


def _resolve(scenario: Scenario, index: str, folder: Path) -> Answer:
    started = time.perf_counter()
    preferences: dict[NormalizedName, tuple[Preference, ...]] = {}
    found: list[Pins] = []
    seconds = 0.0
    for _ in range(2):
        with (
            _context(index, folder) as context,
            open_provider(context, context.project, None) as provider,
        ):
            inputs = Inputs(
                project=canonicalize_name("project"),
                requires_python=context.project.requires_python,
                dependencies=tuple(map(Requirement, scenario.requires)),
                settings=context.project.settings,
                environment=target_for(scenario.target_python, scenario.platform),
                preferences=preferences,
            )
            answer = resolve(inputs, provider)
        seconds = seconds or time.perf_counter() - started
        found.append({(pin.candidate.name, str(pin.candidate.version)): pin.marker for pin in answer.pins})
        preferences = {
            canonicalize_name(name): (Preference(version=Version(version)),) for name, version in found[0]
        }
    return Answer(pins=found[0], seconds=seconds, stable=found[0] == found[1])

"""Resolving a project into a lock: the question, from the project and its earlier lock, and the answer."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from pypm.codec.lines import Asked, requirement_lines
from pypm.codec.pyproject import content_hash
from pypm.codec.shape import suggestion
from pypm.errors import UsageError
from pypm.files import storage_errors
from pypm.index.git import bare
from pypm.model.artifact import Sha256
from pypm.model.lock import Lock
from pypm.model.project import Project, VcsSource
from pypm.paths import PROJECT_FILE, project_file
from pypm.regular import read_regular_text
from pypm.resolve.inputs import Inputs, Preference
from pypm.workflow.answers import completed, open_provider, path_hint
from pypm.workflow.context import Context
from pypm.workflow.dates import absolute, is_duration
from pypm.workflow.freeze import freeze
from pypm.workflow.report import Task

if TYPE_CHECKING:
    from pypm.model.candidate import Candidate
    from pypm.model.resolution import Pin, Resolution
    from pypm.workflow.builds import Builder
    from pypm.workflow.lock import LockRequest
    from pypm.workflow.supply import Supply


def resolved(context: Context, request: LockRequest, before: Lock | None) -> Lock:
    """Return the lock of the project, with as few changes to the earlier one as the request allows.

    Raises:
        ResolutionError: nothing satisfies the requirements.
        IndexAccessError: an index could not be asked.
        UsageError: the request names a package in a way that means nothing.
    """
    wanted = content_hash(context.project)
    limit = _date_limit(context.project, before, wanted, request)
    project = replace(context.project, settings=replace(context.project.settings, exclude_newer=limit))
    inputs = replace(_inputs(project, _with_pins_that_stay(context, before), request), place=_places(context))
    with (
        Building(context) as building,
        context.reporter.task("Resolving", project.name, unit="packages") as task,
        open_provider(
            context,
            project,
            building.metadata,
            refresh=request.refresh,
            locked_commits=_commits(before, inputs),
        ) as provider,
    ):
        if project.dynamic:
            from pypm.workflow.dynamic import with_built_dependencies

            project = with_built_dependencies(project, provider)
            inputs = replace(inputs, dependencies=project.dependencies, extras=project.extras)
        provider.walk(inputs)
        # Loaded while the first answers are on their way.
        from pypm.resolve.solve import resolve

        resolution = resolve(inputs, provider, reporter=ResolvingTask(task))
        context.reporter.detail(provider.traffic())
        _warn_of_missing_extras(context, project, resolution)
        resolution = completed(context, project, resolution, before, every_size=request.refresh)
        lock = freeze(project, resolution, content_hash=wanted, exclude_newer=limit, path_hint=path_hint)
    _require_known(inputs.upgrade, before, lock)
    return lock


class Building:
    """Builds metadata. What that takes is loaded at the first build, which most locks never need."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._supply: Supply | None = None
        self._builder: Builder | None = None

    def __enter__(self) -> Building:
        return self

    def __exit__(self, *failure: Any) -> None:
        if self._supply is not None:
            self._supply.__exit__(*failure)

    def metadata(self, candidate: Candidate, archive: Path) -> bytes:
        """Return the metadata that a build of `archive` tells; see `index.metadata.BuildMetadata`."""
        with self._lock:
            if self._builder is None:
                from pypm.workflow.requirements import open_builder
                from pypm.workflow.supply import Supply

                self._supply = Supply(self._context)
                self._builder = open_builder(self._supply)
        return self._builder.metadata(candidate, archive)


def _warn_of_missing_extras(context: Context, project: Project, resolution: Resolution) -> None:
    """Warn of extras that the project asks for and a package does not have: nothing would come of them."""
    pins: dict[NormalizedName, list[Pin]] = defaultdict(list)
    for pin in resolution.pins:
        pins[pin.candidate.name].append(pin)
    asked: set[tuple[NormalizedName, NormalizedName]] = set()
    for batch in (project.dependencies, *project.extras.values(), *project.groups.values()):
        for requirement in batch:
            name = canonicalize_name(requirement.name)
            asked.update((name, canonicalize_name(extra)) for extra in requirement.extras)
    for name, extra in sorted(asked):
        lacking = [pin for pin in pins.get(name, ()) if extra not in pin.metadata.extras]
        for pin in lacking:
            known = suggestion(extra, pin.metadata.extras).removeprefix(": ")
            context.reporter.warn(
                f"{name}=={pin.candidate.version} has no extra `{extra}`", hint=known or None
            )


def _date_limit(project: Project, before: Lock | None, wanted: Sha256, request: LockRequest) -> str | None:
    """Return the moment that bounds what is looked at; a duration keeps the moment that the lock has.

    Otherwise every day would bring another lock. `--upgrade` counts anew.
    """
    limit = project.settings.exclude_newer
    if limit is None or not is_duration(limit):
        return limit
    keeps = before is not None and before.content_hash == wanted and not request.upgrade
    if keeps and before is not None and before.exclude_newer is not None:
        return before.exclude_newer
    return absolute(limit)


def _with_pins_that_stay(context: Context, before: Lock | None) -> Lock | None:
    """Return the earlier lock without its pins when another strategy chose them: they would fit, and stay."""
    settings = context.project.settings
    if before is None or (before.strategy, before.prerelease) == (settings.strategy, settings.prerelease):
        return before
    context.reporter.detail("The lock was made by other rules of choice: every pin is free to move")
    return replace(before, packages=(), forks=())


def _inputs(project: Project, before: Lock | None, request: LockRequest) -> Inputs:
    moving, aims = _upgrades(request.upgrade_packages)
    settings = project.settings
    return Inputs(
        project=project.name,
        requires_python=project.requires_python,
        dependencies=project.dependencies,
        extras=project.extras,
        groups=project.groups,
        sources=project.sources,
        settings=replace(settings, constraints=(*settings.constraints, *aims)),
        preferences=_preferences(before),
        regions=before.forks if before else (),
        upgrade=moving,
        upgrade_all=request.upgrade,
    )


def _commits(before: Lock | None, inputs: Inputs) -> Mapping[VcsSource, str]:
    """Return the commits that stay: a branch that went on is followed when its package is upgraded."""
    return {
        bare(package.source): package.source.commit
        for package in (before.packages if before and not inputs.upgrade_all else ())
        if package.name not in inputs.upgrade
        and isinstance(package.source, VcsSource)
        and package.source.commit is not None
    }


def _places(context: Context) -> Callable[..., str | None]:
    """Return what tells the line of a requirement; the file is read when a line is first asked for."""

    @cache
    def lines() -> Mapping[Asked, int]:
        path = project_file(context.root)
        with storage_errors(f"read `{path}`"):
            return requirement_lines(read_regular_text(path))

    def place(name: NormalizedName, extras: tuple[NormalizedName, ...], versions: SpecifierSet) -> str | None:
        line = lines().get((name, extras, versions))
        return None if line is None else f"{PROJECT_FILE}:{line}"

    return place


def _preferences(before: Lock | None) -> Mapping[NormalizedName, tuple[Preference, ...]]:
    found: dict[NormalizedName, list[Preference]] = defaultdict(list)
    for package in before.packages if before else ():
        if package.version is not None:
            found[package.name].append(
                Preference(version=Version(package.version), marker=package.marker, source=package.source)
            )
    return MappingProxyType({name: tuple(preferences) for name, preferences in found.items()})


def _upgrades(words: Iterable[str]) -> tuple[frozenset[NormalizedName], tuple[Requirement, ...]]:
    """Return the packages whose pins are forgotten, and the conditions that `NAME==VERSION` adds."""
    names, aims = set(), []
    for word in words:
        try:
            requirement = Requirement(word)
        except InvalidRequirement as error:
            raise UsageError(
                f"`--upgrade-package {word}` is no requirement",
                reference="malformed-requirement",
                hint="write it as `NAME` or `NAME==VERSION`",
            ) from error
        names.add(canonicalize_name(requirement.name))
        if requirement.specifier:
            aims.append(requirement)
    return frozenset(names), tuple(aims)


def _require_known(upgraded: Iterable[NormalizedName], before: Lock | None, after: Lock) -> None:
    """A misspelt name would look like a package that has nothing newer."""
    known = {package.name for lock in (before, after) if lock is not None for package in lock.packages}
    for name in sorted(set(upgraded) - known):
        raise UsageError(
            f"`--upgrade-package {name}` names no package of the lock",
            reference="unknown-package",
            hint=suggestion(name, known).removeprefix(": ") or "`pypm tree` lists what is locked",
        )


class ResolvingTask:
    """Implements the resolver's `Reporter`: shows the package that was decided last."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def decided(self, name: str, version: str) -> None:
        """A version was chosen; it may be taken back."""
        self._task.say(f"{name} {version}")

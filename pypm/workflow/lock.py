"""`pypm lock`: the project's requirements to pypm.lock, with the least change to what is locked already."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from pypm.codec.lockfile import dump_lock
from pypm.codec.pyproject import content_hash
from pypm.errors import IntegrityError, LockError, UsageError
from pypm.model.artifact import Sha256
from pypm.model.lock import Lock
from pypm.model.project import Project
from pypm.paths import LOCK_FILE
from pypm.resolve.inputs import Inputs, Preference
from pypm.resolve.solve import resolve
from pypm.workflow.answers import completed, open_provider, path_hint
from pypm.workflow.changes import Change, compare
from pypm.workflow.context import Context
from pypm.workflow.dates import absolute, is_duration
from pypm.workflow.freeze import freeze
from pypm.workflow.lockfile import read_lock_bytes, read_lock_if_any, write_lock
from pypm.workflow.report import Task
from pypm.workflow.requirements import open_builder
from pypm.workflow.supply import Supply


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRequest:
    """What `lock` was asked to do."""

    check: bool = False
    """Write nothing and say whether the lock would change."""
    dry_run: bool = False
    """Write nothing."""
    refresh: bool = False
    """Ask the indexes anew; no pin moves."""
    upgrade: bool = False
    """Forget every pin."""
    upgrade_packages: tuple[str, ...] = ()
    """Forget these pins; `NAME==VERSION` also says where to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockOutcome:
    """What came out of it."""

    lock: Lock
    changes: tuple[Change, ...]
    changed: bool
    """Whether the file's bytes differ from the lock; with `check` and `dry_run`, whether they would."""


def lock(context: Context, request: LockRequest) -> LockOutcome:
    """Resolve the project and write its lock, unless only asked what would happen.

    Raises:
        ResolutionError: nothing satisfies the requirements.
        IndexAccessError: an index could not be asked.
        ConfigurationError: the project is malformed.
    """
    started = time.monotonic()
    before = _earlier(context, request)
    after = _resolved(context, request, before)
    changed = read_lock_bytes(context) != dump_lock(after)
    changes = compare(before, after)
    count = len(after.packages)
    seconds = time.monotonic() - started
    reporter = context.reporter
    reporter.step("Resolved", f"{count} package{'' if count == 1 else 's'} in {seconds:.2f} s")
    for change in changes:
        reporter.change(change.sign, str(change))
    if request.check and changed:
        reporter.warn(f"`{LOCK_FILE}` would change", hint="run `pypm lock` and commit the result")
    elif not request.check and not request.dry_run:
        write_lock(context, after)
    return LockOutcome(lock=after, changes=changes, changed=changed)


def _earlier(context: Context, request: LockRequest) -> Lock | None:
    """Read the lock whose pins should stay; one that cannot be read is made anew, and that is said."""
    try:
        return read_lock_if_any(context)
    except (LockError, IntegrityError) as error:
        if request.check:
            raise
        context.reporter.warn(f"the lock is made anew, with every pin free to move: {error.message}")
        return None


def _resolved(context: Context, request: LockRequest, before: Lock | None) -> Lock:
    wanted = content_hash(context.project)
    limit = _date_limit(context.project, before, wanted, request)
    project = replace(context.project, settings=replace(context.project.settings, exclude_newer=limit))
    with (
        Supply(context) as supply,
        context.reporter.task("Resolving", project.name, unit="packages") as task,
        open_provider(context, project, open_builder(supply).metadata, refresh=request.refresh) as provider,
    ):
        inputs = _inputs(project, before, request)
        provider.walk(inputs)
        resolution = resolve(inputs, provider, reporter=ResolvingTask(task))
        context.reporter.detail(provider.traffic())
        resolution = completed(context, project, resolution, before, every_size=request.refresh)
        return freeze(project, resolution, content_hash=wanted, exclude_newer=limit, path_hint=path_hint)


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


def _preferences(before: Lock | None) -> Mapping[NormalizedName, tuple[Preference, ...]]:
    found: dict[NormalizedName, list[Preference]] = defaultdict(list)
    for package in before.packages if before else ():
        if package.version is not None:
            found[package.name].append(Preference(version=Version(package.version), marker=package.marker))
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


class ResolvingTask:
    """Implements the resolver's `Reporter`: shows the package that was decided last."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def decided(self, name: str, version: str) -> None:
        """A version was chosen; it may be taken back."""
        self._task.say(f"{name} {version}")

"""From the project to its environment: what `sync`, `run` and `shell` have in common.

The lock is made sure of, the artifacts are picked, whatever is missing is fetched and built, and the result
is described. Nothing of the project's folder is touched but the lock, and that only when it is stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pypm.codec.lockfile import check_fresh
from pypm.codec.pyproject import content_hash
from pypm.environment.overlay import describe
from pypm.errors import IntegrityError, StorageError
from pypm.model.artifact import LockedArtifact
from pypm.model.environment import Environment
from pypm.model.lock import Lock
from pypm.model.plan import Pick, Plan, Selection
from pypm.model.project import PathSource
from pypm.model.wheel import StoredWheel
from pypm.paths import LOCK_FILE
from pypm.workflow.cache import in_use
from pypm.workflow.context import Context
from pypm.workflow.lockfile import read_lock, read_lock_if_any
from pypm.workflow.origins import direct_urls
from pypm.workflow.select import select
from pypm.workflow.selection import SelectionRequest, choose_selection
from pypm.workflow.signatures import signing_of
from pypm.workflow.stages import Pins, Stage, picked_package
from pypm.workflow.startup import require_allowed
from pypm.workflow.supply import Supply

if TYPE_CHECKING:
    from pypm.workflow.builds import Builder


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What is wanted, and how much may be done for it."""

    selection: SelectionRequest = field(default_factory=SelectionRequest)
    locked: bool = False
    """A stale lock is an error."""
    frozen: bool = False
    """The lock is taken as it is, without looking at the project's requirements."""
    lock: Lock | None = None
    """Taken in place of the project's: a script's (PEP 723)."""
    nothing_new: bool = False
    """Whatever is not in the store is an error (`--no-sync`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An environment, ready to be written to disk or to be mounted."""

    environment: Environment
    lock: Lock
    selection: Selection
    trees: tuple[Path, ...]
    """Source trees outside the project that editable wheels point into."""
    plan: Plan
    """What had to be done for it."""


def prepare(context: Context, preparation: Preparation) -> Prepared:
    """Make sure of the lock and of every wheel, and describe the environment.

    Raises:
        ConfigurationError: a package brings startup code that the project does not allow.
        LockError: the lock is missing or stale and may not be made anew, or is damaged.
        IntegrityError: some file is not what was locked.
        IndexAccessError, BuildError, StorageError: something missing could not be had.
    """
    with in_use(context), Supply(context) as supply:
        found = _look(supply, preparation)
        if preparation.nothing_new:
            _require_nothing(found.missing)
        found = _with_plugins(supply, preparation, found)
        stages = context.stages
        if stages.wants(Stage.PRE_SYNC):
            trees = {wheel.name: wheel for _, wheel in found.plan.reuse}
            chosen = (
                picked_package(context.cache, pick, wheel=trees.get(pick.package.name))
                for pick in found.picks
            )
            stages.call(Stage.PRE_SYNC, chosen)
        reuse = [*found.plan.reuse]
        reuse += zip(found.plan.fetch, supply.fetch(found.plan.fetch), strict=True)
        project = found.project
        if found.builder is not None:
            reuse += [(pick, found.builder.build(pick)) for pick in found.plan.build]
            if found.wants_project and project is None:
                project = found.builder.build_project()
        there = [*found.plan.reuse, *([] if found.project is None else [(None, found.project)])]
        stages.found(there, {} if found.builder is None else found.builder.archives)
    return _described(context, found, reuse, project)


def _with_plugins(supply: Supply, preparation: Preparation, found: _Found) -> _Found:
    """Make the project's plugins ready; the packages that bring some are fetched before all others."""
    stages = supply.context.stages
    missing = stages.open(found.lock, Pins.REQUIRED)
    if not missing:
        return found
    if preparation.nothing_new:
        _require_nothing([one.package for one in missing])
    supply.fetch(tuple({pick.package.name: pick for one in missing for pick in one.picks}.values()))
    stages.open(found.lock, Pins.REQUIRED)
    return _look(supply, replace(preparation, lock=found.lock))


def foresee(context: Context, preparation: Preparation) -> Prepared | tuple[str, ...]:
    """Return what `prepare` would, as far as the store has it; else the packages that are missing."""
    with Supply(context) as supply:
        found = _look(supply, preparation)
    return found.missing or _described(context, found, found.plan.reuse, found.project)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What is there before anything is done."""

    lock: Lock
    selection: Selection
    picks: tuple[Pick, ...]
    plan: Plan
    builder: Builder | None
    """None where all comes as wheels."""
    wants_project: bool
    project: StoredWheel | None
    """The project's own wheel, if it was built before and nothing changed."""
    missing: tuple[str, ...]


def _look(supply: Supply, preparation: Preparation) -> _Found:
    context = supply.context
    target = context.interpreter.target  # First: without an interpreter there is no use in a new lock.
    current = current_lock(context, preparation)
    selection = choose_selection(preparation.selection, current)
    picks = select(current, target, selection, settings=context.project.settings)
    wants_project = selection.project and context.project.is_package
    builder = None
    if wants_project or not all(pick.artifact is not None and pick.artifact.is_wheel for pick in picks):
        # Late: a sync of wheels alone needs neither the build rooms nor the sandbox's policies.
        from pypm.workflow.requirements import open_builder

        builder = open_builder(supply)
    plan = supply.plan(picks, (lambda _: None) if builder is None else builder.find)
    project = builder.find_project() if builder is not None and wants_project else None
    missing = [
        f"{pick.package.name} {pick.package.version or ''}".strip() for pick in (*plan.fetch, *plan.build)
    ]
    if wants_project and project is None:
        missing.append(str(context.project.name))
    return _Found(
        lock=current,
        selection=selection,
        picks=tuple(picks),
        plan=plan,
        builder=builder,
        wants_project=wants_project,
        project=project,
        missing=tuple(missing),
    )


def _described(
    context: Context,
    found: _Found,
    wheels: Sequence[tuple[Pick, StoredWheel]],
    project: StoredWheel | None,
) -> Prepared:
    for pick, wheel in wheels:
        _require_root(pick.artifact, wheel)
    locked = [wheel for pick, wheel in wheels if not _is_editable(pick)]
    layers = [wheel for pick, wheel in wheels if _is_editable(pick)]
    if project is not None:
        layers.append(project)
    for wheel in require_allowed(context.project, locked, layers):
        context.reporter.detail(f"Allowed: startup code of {wheel.name}: {', '.join(wheel.startup_code)}")
    environment = describe(
        context.interpreter,
        locked,
        context.location,
        cache=context.cache.root,
        project_layers=layers,
        direct_urls=direct_urls(
            context, (pick for pick, _ in wheels), None if project is None else context.project.name
        ),
    )
    return Prepared(
        environment=environment,
        lock=found.lock,
        selection=found.selection,
        trees=_trees(context, found.picks),
        plan=found.plan,
    )


def current_lock(context: Context, preparation: Preparation) -> Lock:
    """Return the lock that fits the project, made anew when it is stale and that was not forbidden."""
    if preparation.lock is not None:
        return preparation.lock
    if preparation.frozen:
        return read_lock(context)
    if preparation.locked:
        current = read_lock(context)
        check_fresh(current, content_hash(context.project))
        return current
    if signing_of(context).required:
        # A lock that is made on the way is one that nobody has looked at, and nobody has signed.
        return current_lock(context, replace(preparation, locked=True))
    known = read_lock_if_any(context)
    if known is not None and known.content_hash == content_hash(context.project):
        return known
    from pypm.workflow.lock import LockRequest, lock

    context.reporter.detail(f"`{LOCK_FILE}` is {'missing' if known is None else 'stale'}: locking")
    return lock(context, LockRequest()).lock


def _require_root(artifact: LockedArtifact | None, wheel: StoredWheel) -> None:
    """Refuse a wheel that was in the store already and has another root than the lock states."""
    if artifact is None or not artifact.is_wheel or artifact.merkle_root in (None, wheel.merkle_root):
        return
    raise IntegrityError(
        f"the files of `{artifact.filename}` in the store have another Merkle root than the lock states",
        reference="merkle-mismatch",
        hint="`pypm verify` names the files; `pypm lock --refresh --merkle` asks the index again",
        details=(f"locked sha256:{artifact.merkle_root}", f"store  sha256:{wheel.merkle_root}"),
    )


def _require_nothing(missing: Sequence[str]) -> None:
    if missing:
        raise StorageError(
            f"{len(missing)} of the locked packages are not in the store: {_listed(missing)}",
            reference="not-in-store",
            hint="run `pypm sync`, or leave `--no-sync` out",
        )


def _listed(names: Sequence[str], *, most: int = 5) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def _is_editable(pick: Pick) -> bool:
    return isinstance(pick.package.source, PathSource) and pick.package.source.editable


def _trees(context: Context, picks: Sequence[Pick]) -> tuple[Path, ...]:
    sources = [pick.package.source for pick in picks if isinstance(pick.package.source, PathSource)]
    paths = [source.path for source in sources if source.editable]
    if not paths:
        return ()
    from pypm.build.project import tree_place

    return tuple(tree_place(context.root, path) for path in paths)

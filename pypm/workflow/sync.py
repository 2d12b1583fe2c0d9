"""`pypm sync`: the environment on disk becomes exactly what the lock says."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pypm.digest import parse_sha256
from pypm.environment.linking import ChangedTreeError
from pypm.environment.writer import STATE_FILE, Overlap, read_state, sweep, write
from pypm.errors import IntegrityError
from pypm.model.artifact import Sha256
from pypm.model.environment import Environment
from pypm.paths import ENVIRONMENT_FOLDER
from pypm.store.wheels import Store
from pypm.workflow import plans
from pypm.workflow.cache import in_use
from pypm.workflow.context import Context
from pypm.workflow.freshness import facts_of
from pypm.workflow.prepare import Preparation, Prepared, foresee, prepare
from pypm.workflow.selection import SelectionRequest
from pypm.workflow.stages import Stage, stored_package

_NOTHING = "Nothing to do:"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRequest:
    """What `sync` was asked to do."""

    selection: SelectionRequest = field(default_factory=SelectionRequest)
    locked: bool = False
    frozen: bool = False
    check: bool = False
    """Write nothing and say whether `.venv` is what the lock says."""
    dry_run: bool = False
    """Write nothing and say what would be done."""
    expected_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOutcome:
    """What came out of it."""

    digest: Sha256 | None
    """None where nothing was prepared: with `check` and `dry_run`, when wheels are missing."""
    changed: bool
    """Whether `.venv` was written; with `check` and `dry_run`, whether it would be."""
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "digest": None if self.digest is None else f"sha256:{self.digest}",
            "changed": self.changed,
            "added": list(self.added),
            "removed": list(self.removed),
        }


def sync(context: Context, request: SyncRequest) -> SyncOutcome:
    """Prepare the environment and swap it in at `.venv`, unless it is there already.

    Raises:
        LockError: the lock is missing, stale or damaged.
        IntegrityError: a file or the environment's digest is not what was expected.
        IndexAccessError, BuildError, StorageError: something missing could not be had.
    """
    expected = request.expected_digest and parse_sha256(request.expected_digest, where="--expect-digest")
    preparation = Preparation(
        selection=request.selection, locked=request.locked or request.check, frozen=request.frozen
    )
    if request.check or request.dry_run:
        return _foretold(context, foresee(context, preparation))
    with in_use(context):
        return _made_so(context, preparation, expected)


def _made_so(context: Context, preparation: Preparation, expected: Sha256 | str | None) -> SyncOutcome:
    started = time.monotonic()
    prepared = prepare(context, preparation)
    environment = prepared.environment
    if expected and expected != environment.digest:
        raise IntegrityError(
            "the environment is not the expected one; `.venv` was left as it is",
            reference="unexpected-digest",
            hint="compare interpreter and lock with those of the machine that stated the digest",
            details=(f"expected sha256:{expected}", f"got      sha256:{environment.digest}"),
        )
    stages = context.stages
    wheels = [stored_package(wheel) for wheel in (*environment.project_layers, *environment.wheels)]
    outcome = _compared(environment)
    if outcome.changed:
        stages.call(Stage.PRE_INSTALL, wheels)
        for overlap in _written(context, preparation, environment):
            context.reporter.detail(
                f"`{overlap.path}` of `{overlap.loser}` is hidden by that of `{overlap.winner}`"
            )
        stages.call(Stage.POST_INSTALL, wheels, environment_digest=environment.digest)
        _tell(context, outcome, "Installed", "Removed")
        seconds = time.monotonic() - started
        context.reporter.step("Synced", f"{_count(len(_distributions(environment)))} in {seconds:.2f} s")
    else:
        sweep(environment)
        context.reporter.step(_NOTHING, f"{_count(len(_distributions(environment)))} as locked")
    stages.call(Stage.POST_SYNC, environment_digest=environment.digest)
    _keep_plan(context, prepared)
    return outcome


def _written(context: Context, preparation: Preparation, environment: Environment) -> tuple[Overlap, ...]:
    """Write the environment. A tree of the store that something has changed is unpacked anew, once each.

    The archive's hash is in the lock, so what comes of it is right, and nobody has to clean a whole cache
    because a program edited one file of a `.venv`.
    """
    remade: set[Path] = set()
    while True:
        try:
            return write(environment, on_wait=lambda holder: _tell_wait(context, holder))
        except ChangedTreeError as error:
            if error.tree in remade:
                raise
            remade.add(error.tree)
            context.reporter.warn(f"{error.message}: it is made anew")
            Store(context.cache).remove_tree(error.tree)
            prepare(context, preparation)


def _tell_wait(context: Context, holder: str) -> None:
    context.reporter.step("Waiting", f"for `{ENVIRONMENT_FOLDER}`, which {holder} writes")


def _keep_plan(context: Context, prepared: Prepared) -> None:
    """Write the plan that answers the next call like this one: nothing to do, and the digest."""
    call = plans.read_call(sys.argv[1:])
    if call is None or context.settings.cache is None:
        return
    if context.stages.wants(Stage.PRE_SYNC, Stage.POST_SYNC):
        return  # Their hooks are to be called by a sync with nothing to do as well.
    environment = prepared.environment
    quiet = any(option in {"-q", "--quiet"} for option in call.options)
    talk = f"{_NOTHING} {_count(len(_distributions(environment)))} as locked\n"
    payload = {"stdout": f"sha256:{environment.digest}\n", "stderr": "" if quiet else talk}
    key = plans.plan_key(call, str(context.root), os.environ)
    state = environment.location / STATE_FILE
    facts = facts_of(context, prepared, written=(state, environment.location / "pyvenv.cfg"))
    if facts is not None:
        plans.save(plans.plan_path(str(context.cache.plans), key), key, facts, payload)


def _foretold(context: Context, foreseen: Prepared | tuple[str, ...]) -> SyncOutcome:
    if isinstance(foreseen, tuple):
        for name in foreseen:
            context.reporter.change("+", name)
        context.reporter.step("Would prepare", _count(len(foreseen)))
        return SyncOutcome(digest=None, changed=True, added=foreseen)
    outcome = _compared(foreseen.environment)
    _tell(context, outcome, "Would install", "Would remove")
    if not outcome.changed:
        context.reporter.step(_NOTHING, "the environment is as locked")
    return outcome


def _compared(environment: Environment) -> SyncOutcome:
    """Compare the environment with what lies at its location."""
    state = read_state(environment.location)
    if state is not None and state.base == environment.base.name:
        return SyncOutcome(digest=environment.digest, changed=False)
    site_packages = environment.location / environment.interpreter.site_packages
    present = {path.name for path in site_packages.glob("*.dist-info")}
    wanted = set(_distributions(environment))
    return SyncOutcome(
        digest=environment.digest,
        changed=True,
        added=tuple(sorted(map(_readable, wanted - present))),
        removed=tuple(sorted(map(_readable, present - wanted))),
    )


def _distributions(environment: Environment) -> tuple[str, ...]:
    return tuple(wheel.dist_info for wheel in (*environment.project_layers, *environment.wheels))


def _readable(dist_info: str) -> str:
    name, _, version = dist_info.removesuffix(".dist-info").partition("-")
    return f"{name.replace('_', '-')} {version}"


def _tell(context: Context, outcome: SyncOutcome, installed: str, removed: str) -> None:
    for name in outcome.removed:
        context.reporter.change("-", name)
    for name in outcome.added:
        context.reporter.change("+", name)
    if outcome.added:
        context.reporter.step(installed, _count(len(outcome.added)))
    if outcome.removed:
        context.reporter.step(removed, _count(len(outcome.removed)))


def _count(number: int) -> str:
    return f"{number} package{'' if number == 1 else 's'}"

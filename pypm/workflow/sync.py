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
from pypm.environment.writer import STATE_FILE
from pypm.errors import IntegrityError, UsageError
from pypm.model.artifact import Sha256
from pypm.model.environment import Environment
from pypm.store.wheels import Store
from pypm.workflow import plans
from pypm.workflow.cache import in_use
from pypm.workflow.context import Context
from pypm.workflow.freshness import facts_of
from pypm.workflow.placing import (
    Comparison,
    Placement,
    as_data,
    compare,
    count,
    nothing_to_do,
    place,
    placement_of,
    tell_changes,
    tell_placed,
    tidy,
)
from pypm.workflow.prepare import Preparation, Prepared, foresee, prepare
from pypm.workflow.selection import SelectionRequest
from pypm.workflow.stages import Stage, stored_package


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
    expected = _expected(request)
    preparation = Preparation(
        selection=request.selection, locked=request.locked or request.check, frozen=request.frozen
    )
    if request.check or request.dry_run:
        return _foretold(context, foresee(context, preparation))
    with in_use(context):
        return _made_so(context, preparation, expected)


def _expected(request: SyncRequest) -> Sha256 | None:
    if request.expected_digest is None:
        return None
    try:
        return parse_sha256(request.expected_digest, where="--expect-digest")
    except IntegrityError as error:
        # Nothing was compared: it is the command line that does not hold.
        raise UsageError(error.message, reference=error.reference, hint=error.hint) from None


def _made_so(context: Context, preparation: Preparation, expected: Sha256 | None) -> SyncOutcome:
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
    stages, placement = context.stages, placement_of(environment)
    comparison = compare(placement)
    if comparison.changed:
        wheels = [stored_package(wheel) for wheel in environment.installed]
        stages.call(Stage.PRE_INSTALL, wheels)
        _place(context, preparation, placement)
        stages.call(Stage.POST_INSTALL, wheels, environment_digest=environment.digest)
        tell_placed(placement, comparison, context.reporter, since=started)
    else:
        tidy(placement)
        context.reporter.step(*nothing_to_do(placement))
    stages.call(Stage.POST_SYNC, environment_digest=environment.digest)
    _keep_plan(context, prepared, placement)
    return _outcome(environment, comparison)


def _place(context: Context, preparation: Preparation, placement: Placement) -> None:
    """Write the environment. A tree of the store that something has changed is unpacked anew, once each.

    The archive's hash is in the lock, so what comes of it is right, and nobody has to clean a whole cache
    because a program edited one file of a `.venv`.
    """
    remade: set[Path] = set()
    while True:
        try:
            return place(placement, context.reporter)
        except ChangedTreeError as error:
            if error.tree in remade:
                raise
            remade.add(error.tree)
            context.reporter.warn(f"{error.message}: it is made anew")
            Store(context.cache).remove_tree(error.tree)
            prepare(context, preparation)


def _keep_plan(context: Context, prepared: Prepared, placement: Placement) -> None:
    """Write the plan that answers the next call like this one: nothing to do, or what to write."""
    call = plans.read_call(sys.argv[1:])
    if call is None or context.settings.cache is None:
        return
    if context.stages.wants(Stage.PRE_SYNC, Stage.PRE_INSTALL, Stage.POST_INSTALL, Stage.POST_SYNC):
        return  # Their hooks are to be called by every sync.
    facts = facts_of(context, prepared, of_environment=False)
    if facts is None:
        return
    payload = {
        "stdout": f"sha256:{placement.digest}\n",
        "stderr": " ".join(nothing_to_do(placement)) + "\n",
        "state": plans.file_facts([os.fspath(placement.location / STATE_FILE)]),
        "placement": as_data(placement),
    }
    key = plans.plan_key(call, str(context.root), os.environ)
    plans.save(plans.plan_path(str(context.cache.plans), key), key, facts, payload)


def _foretold(context: Context, foreseen: Prepared | tuple[str, ...]) -> SyncOutcome:
    if isinstance(foreseen, tuple):
        for name in foreseen:
            context.reporter.change("+", name)
        context.reporter.step("Would prepare", count(len(foreseen)))
        return SyncOutcome(digest=None, changed=True, added=foreseen)
    comparison = compare(placement_of(foreseen.environment))
    tell_changes(comparison, context.reporter, installed="Would install", removed="Would remove")
    if not comparison.changed:
        context.reporter.step("Nothing to do:", "the environment is as locked")
    return _outcome(foreseen.environment, comparison)


def _outcome(environment: Environment, comparison: Comparison) -> SyncOutcome:
    return SyncOutcome(
        digest=environment.digest,
        changed=comparison.changed,
        added=comparison.added,
        removed=comparison.removed,
    )

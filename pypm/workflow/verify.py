"""`pypm verify`: the lock, the store and `.venv`, down to the last byte, against each other.

The lock vouches for archives, these (or the lock's Merkle roots) for the store's manifests, and the manifests
for the files of the store and of `.venv`. What pypm generates is generated again and compared.
`docs/verification.md` says what each step proves, and against whom.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pypm.codec.record import RecordRow, parse_record
from pypm.digest import sha256_file
from pypm.environment.expectation import expected_files, forget_generated, generated_anew
from pypm.environment.writer import sweep, write
from pypm.errors import IntegrityError
from pypm.model.artifact import LockedArtifact
from pypm.model.environment import Environment
from pypm.model.plan import Pick
from pypm.model.verification import Difference
from pypm.model.wheel import StoredWheel
from pypm.paths import ENVIRONMENT_FOLDER, LOCK_FILE
from pypm.regular import read_regular_text
from pypm.store.proof import MANIFEST, expected_tree, prove
from pypm.store.wheels import Store
from pypm.workflow.cache import in_use
from pypm.workflow.context import Context
from pypm.workflow.inspection import Hashes, compare_folder
from pypm.workflow.lockfile import read_lock_bytes
from pypm.workflow.prepare import Preparation, Prepared, current_lock, foresee, prepare
from pypm.workflow.select import select
from pypm.workflow.selection import SelectionRequest, choose_selection
from pypm.workflow.signatures import signer
from pypm.workflow.supply import required_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """What is to be verified."""

    selection: SelectionRequest = field(default_factory=SelectionRequest)
    frozen: bool = False
    """Take the lock as it is, whether or not it answers to what the project asks for."""
    repair: bool = False
    """Make everything anew that differs, from what the lock vouches for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOutcome:
    """What was found."""

    digest: str | None
    """Of the environment; None when a package is not in the store, so that there is none to compare with."""
    differences: tuple[Difference, ...]
    """As they were found; with `repair`, before it. Files of `.venv` are named below the project."""
    is_sound: bool
    """Whether nothing differs (any more)."""
    signer: str | None = None
    """Who signed the lock, where the project or the user says who may."""
    packages: int = 0
    files: int = 0
    """How many were hashed; hard links count once."""
    size_bytes: int = 0
    witnesses: tuple[tuple[str, int], ...] = ()
    """How many packages each witness vouches for: `lock`, `archive` or only this machine's `manifest`."""
    other_home: Path | None = None
    """Where the interpreter lies that `.venv` says it was made for, if that is not the one verified for."""

    def as_data(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "sound": self.is_sound,
            "digest": None if self.digest is None else f"sha256:{self.digest}",
            "signer": self.signer,
            "packages": self.packages,
            "files": self.files,
            "size-bytes": self.size_bytes,
            "witnesses": dict(self.witnesses),
            "differences": [
                {"what": one.what, "package": one.package or None, "path": one.path}
                for one in self.differences
            ],
        }


def verify(context: Context, request: VerifyRequest) -> VerifyOutcome:
    """Verify the lock, the selected environment's part of the store, and `.venv`.

    Raises:
        LockError: the lock is missing, stale or not readable.
        IntegrityError: the lock's content is not what it says of itself.
        IndexAccessError, BuildError, StorageError: a repair could not have what it needs.
    """
    started = time.monotonic()
    preparation = Preparation(selection=request.selection, locked=not request.frozen, frozen=request.frozen)
    with in_use(context):
        inspection = _Inspection(context, preparation)
        inspection.run()
        outcome = inspection.outcome()
        if request.repair and inspection.prepared is not None:
            sweep(inspection.prepared.environment)
        if request.repair and outcome.differences:
            _repair(context, preparation, inspection)
            again = _Inspection(context, preparation)
            again.run()
            outcome = replace(again.outcome(), differences=outcome.differences)
    mebibytes = outcome.size_bytes / 2**20
    seconds = time.monotonic() - started
    context.reporter.step(
        "Verified",
        f"{outcome.packages} packages, {outcome.files} files, {mebibytes:.1f} MiB in {seconds:.2f} s",
    )
    return outcome


class _Inspection:
    """One look at everything; afterwards it knows what to repair."""

    def __init__(self, context: Context, preparation: Preparation) -> None:
        self._context = context
        self._preparation = preparation
        self._store = Store(context.cache)
        self._hashes = Hashes()
        self._differences: list[Difference] = []
        self._witnesses: Counter[str] = Counter()
        self._signer: str | None = None
        self.prepared: Prepared | None = None
        self.broken: list[Path] = []
        """Trees of the store that are not what was unpacked."""

    def run(self) -> None:
        picks = self._picks()
        self._read_manifests(picks)
        if self._differences:
            return  # Without a manifest there is nothing to compare the environment with.
        foreseen = foresee(self._context, self._preparation)
        if isinstance(foreseen, tuple):
            for text in foreseen:
                name = text.partition(" ")[0]
                # A build lies under a key of its own, so there is no path to name but the store's.
                self._differences.append(
                    Difference(what="missing", package=name, path=str(self._store.cache.store))
                )
            return
        self.prepared = foreseen
        locked = {wheel.tree: pick.artifact for pick, wheel in foreseen.plan.reuse}
        environment = foreseen.environment
        for wheel in environment.installed:
            self._inspect_tree(wheel, locked.get(wheel.tree))
        self._inspect_environment(environment)

    def outcome(self) -> VerifyOutcome:
        """Return what was found."""
        environment = None if self.prepared is None else self.prepared.environment
        return VerifyOutcome(
            digest=None if environment is None else environment.digest,
            signer=self._signer,
            differences=tuple(self._differences),
            is_sound=not self._differences,
            packages=self._witnesses.total(),
            files=self._hashes.read_files,
            size_bytes=self._hashes.read_bytes,
            witnesses=tuple(sorted(self._witnesses.items())),
            other_home=_other_home(self._context),
        )

    def _picks(self) -> Sequence[Pick]:
        context = self._context
        lock = current_lock(context, self._preparation)
        self._signer = signer(context, read_lock_bytes(context) or b"")
        selection = choose_selection(self._preparation.selection, lock)
        return select(lock, context.interpreter.target, selection, settings=context.project.settings)

    def _read_manifests(self, picks: Iterable[Pick]) -> None:
        """Name the wheels whose manifest is damaged: everything behind this reads manifests."""
        cache_tag = self._context.interpreter.cache_tag
        for pick in picks:
            if pick.artifact is None or not pick.artifact.is_wheel:
                continue
            sha256 = required_hash(pick.artifact)
            try:
                wheel = self._store.find(sha256, cache_tag)
                if wheel is not None:
                    self._store.entries(wheel)
            except IntegrityError:
                tree = self._store.tree(sha256, cache_tag)
                self.broken.append(tree)
                self._differences.append(
                    Difference(what="changed", package=pick.package.name, path=str(tree / MANIFEST))
                )

    def _inspect_tree(self, wheel: StoredWheel, artifact: LockedArtifact | None) -> None:
        header, entries = self._store.entries(wheel)
        locked_root = None if artifact is None or not artifact.is_wheel else artifact.merkle_root
        record = None if locked_root else self._archived_record(wheel, artifact)
        proof = prove(header, entries, locked_root=locked_root, record=record)
        self._witnesses[proof.witness] += 1
        expected = expected_tree(header, entries)
        found = compare_folder(str(wheel.tree), expected, self._hashes)
        differences = [*proof.differences, *found]
        if differences:
            self.broken.append(wheel.tree)
        self._differences += [replace(one, path=f"{wheel.tree}/{one.path}") for one in differences]

    def _archived_record(
        self, wheel: StoredWheel, artifact: LockedArtifact | None
    ) -> tuple[RecordRow, ...] | None:
        """Return the RECORD of the archive in the cache, when it is the one that the lock names."""
        if artifact is None or not artifact.is_wheel:
            return None
        from pypm.index.download import archive_path
        from pypm.index.remote_zip import read_dist_info

        archive = archive_path(self._context.cache.wheels, artifact)
        if not archive.is_file() or sha256_file(archive) != wheel.sha256:
            return None
        return parse_record(read_dist_info(archive, ("RECORD",))["RECORD"])

    def _inspect_environment(self, environment: Environment) -> None:
        location = environment.location
        if location.is_symlink() or not location.is_dir():
            self._differences.append(Difference(what="missing", package="", path=ENVIRONMENT_FOLDER))
            return
        with generated_anew(environment, self._context.cache.scratch) as generated:
            base = compare_folder(str(environment.base), generated, self._hashes)
            expected = expected_files(environment, generated)
        found = compare_folder(str(location), expected, self._hashes, empty_folders=not environment.wheels)
        self._differences += [replace(one, path=f"{environment.base}/{one.path}") for one in base]
        self._differences += [replace(one, path=f"{ENVIRONMENT_FOLDER}/{one.path}") for one in found]


def _other_home(context: Context) -> Path | None:
    """What `pyvenv.cfg` says is a claim and nothing to start a program for, but it explains differences."""
    try:
        lines = read_regular_text(context.location / "pyvenv.cfg").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    stated = dict(line.partition(" = ")[::2] for line in lines).get("home")
    return None if stated in (None, str(context.interpreter.executable.parent)) else Path(stated)


def _repair(context: Context, preparation: Preparation, inspection: _Inspection) -> None:
    """Remove what is broken and make the environment anew, by the same way as a sync does."""
    store = Store(context.cache)
    for tree in inspection.broken:
        store.remove_tree(tree)
    if inspection.prepared is not None:
        forget_generated(inspection.prepared.environment)
    prepared = prepare(context, preparation)
    write(prepared.environment)
    context.reporter.step("Repaired", f"`{ENVIRONMENT_FOLDER}` from `{LOCK_FILE}`")

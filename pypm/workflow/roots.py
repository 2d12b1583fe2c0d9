"""Merkle roots of locked wheels: what each wheel's RECORD promises, read without downloading the wheel.

RECORD comes by range request, so nothing vouches for it yet. That is enough: a sync computes the root again
from the bytes that it unpacked, of an archive whose hash the lock has, and refuses any difference.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from msgspec.structs import replace

from pypm.codec.merkle import record_root
from pypm.codec.metadata import MetadataError
from pypm.codec.record import RecordRow, parse_record
from pypm.digest import sha256_file
from pypm.index.download import archive_path
from pypm.index.remote_zip import RangeIgnored, read_dist_info, read_remote_dist_info
from pypm.model.artifact import LockedArtifact, Sha256
from pypm.model.lock import Lock, LockedPackage
from pypm.model.project import IndexSource, UrlSource
from pypm.workflow.answers import is_for
from pypm.workflow.context import Context
from pypm.workflow.startup import KEY, allowed_names, announced
from pypm.workflow.supply import Supply

_PARALLEL = 16
"""Each waits for one or two small answers."""

Key = tuple[str, "Sha256 | None"]


def with_known_roots(lock: Lock, before: Lock | None) -> Lock:
    """Return the lock with the roots that the earlier one has of the same files."""
    known = {
        _key(wheel): wheel.merkle_root
        for package in (before.packages if before else ())
        for wheel in package.wheels
        if wheel.merkle_root is not None
    }
    return _with_roots(lock, known) if known else lock


def with_roots(context: Context, lock: Lock, *, every: bool) -> Lock:
    """Return the lock with the roots of the wheels that its `environments` can use, or of `every` wheel.

    A wheel has none where its server serves no ranges, or where its RECORD does not tell enough.

    Raises:
        IndexAccessError: an index could not be asked.
        IntegrityError: an index has another file under a locked name.
    """
    wanted = [
        (package, wheel)
        for package in lock.packages
        if isinstance(package.source, IndexSource | UrlSource)
        for wheel in package.wheels
        if wheel.merkle_root is None
        and wheel.sha256 is not None
        and (every or is_for(wheel.filename, lock.environments))
    ]
    if not wanted:
        return lock
    with (
        Supply(context) as supply,
        context.reporter.task("Reading", "RECORD of wheels", unit="wheels", total=len(wanted)) as task,
        ThreadPoolExecutor(_PARALLEL, thread_name_prefix="record") as pool,
    ):

        def record(pair: tuple[LockedPackage, LockedArtifact]) -> tuple[RecordRow, ...] | None:
            rows = _record(supply, *pair)
            task.advance(1)
            return rows

        records = list(pool.map(record, wanted))
    pairs = [(*pair, rows) for pair, rows in zip(wanted, records, strict=True) if rows is not None]
    _announce(context, pairs)
    found = {_key(wheel): root for _, wheel, rows in pairs if (root := record_root(rows)) is not None}
    context.reporter.step("Read", f"the Merkle roots of {len(found)} of {len(wanted)} wheels")
    return _with_roots(lock, found)


def _announce(
    context: Context, records: Iterable[tuple[LockedPackage, LockedArtifact, tuple[RecordRow, ...]]]
) -> None:
    """Name packages with startup code that the project does not allow yet: a sync will refuse them."""
    found = {
        package.name: paths
        for package, _, rows in records
        if (paths := announced(row.path for row in rows))
        and package.name not in allowed_names(context.project)
    }
    for name, paths in sorted(found.items()):
        listed = ", ".join(f"`{path}`" for path in paths)
        context.reporter.warn(
            f"`{name}` brings code that runs without being asked for: {listed}",
            hint=f"if you trust it, add it to `{KEY}` in `[tool.pypm]`",
        )


def _record(supply: Supply, package: LockedPackage, wheel: LockedArtifact) -> tuple[RecordRow, ...] | None:
    context = supply.context
    try:
        archive = archive_path(context.cache.wheels, wheel)
        if archive.is_file() and sha256_file(archive) == wheel.sha256:
            return parse_record(read_dist_info(archive, ("RECORD",))["RECORD"])
        for url in supply.urls(package, wheel):
            try:
                content = read_remote_dist_info(context.client, url, ("RECORD",))["RECORD"]
            except FileNotFoundError:
                continue
            return parse_record(content)
    except RangeIgnored:
        context.reporter.detail(f"The server of `{wheel.filename}` serves no ranges: it has no Merkle root")
    except MetadataError as error:
        context.reporter.warn(f"`{wheel.filename}` has no readable RECORD: {error}")
    return None


def _with_roots(lock: Lock, roots: dict[Key, Sha256]) -> Lock:
    return replace(lock, packages=tuple(_package(package, roots) for package in lock.packages))


def _package(package: LockedPackage, roots: dict[Key, Sha256]) -> LockedPackage:
    wheels: Iterable[LockedArtifact] = (
        replace(wheel, merkle_root=wheel.merkle_root or roots.get(_key(wheel))) for wheel in package.wheels
    )
    return replace(package, wheels=tuple(wheels))


def _key(wheel: LockedArtifact) -> Key:
    return (wheel.filename, wheel.sha256)

"""`pypm audit --lock`: whether the indexes still say of each artifact what they said when it was locked.

A lock outlives the moment it was made in: a file can be replaced, taken away or yanked since. And a lock that
was tampered with and sealed again names artifacts that no index ever vouched for. Every page is asked anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from pypm.codec.simple import PageFile
from pypm.errors import ConfigurationError
from pypm.index.cache import IndexCache
from pypm.index.pages import Pages
from pypm.model.artifact import IndexFile, LockedArtifact
from pypm.model.lock import Lock, LockedPackage
from pypm.model.project import Index, IndexSource, UrlSource
from pypm.workflow.context import Context
from pypm.workflow.lockfile import read_lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One artifact that is not vouched for any more."""

    what: Literal["changed", "vanished", "yanked"]
    package: str
    version: str
    filename: str
    detail: str = ""
    """Both hashes, or why it was yanked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOutcome:
    """What the indexes say today."""

    findings: tuple[Finding, ...]
    artifacts: int
    """How many were asked for."""
    without_hash: int
    """Of these, how many are listed without a hash: that they exist is all the index says."""

    @property
    def has_changed_bytes(self) -> bool:
        """Whether some locked name stands for other bytes now."""
        return any(finding.what == "changed" for finding in self.findings)

    def as_data(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "artifacts": self.artifacts,
            "without-hash": self.without_hash,
            "findings": [
                {
                    "what": one.what,
                    "package": one.package,
                    "version": one.version,
                    "filename": one.filename,
                    "detail": one.detail,
                }
                for one in self.findings
            ],
        }


def audit_lock(context: Context) -> AuditOutcome:
    """Ask the indexes again for every locked artifact.

    Raises:
        LockError, IntegrityError: the lock is missing, damaged or not signed as required.
        IndexAccessError: an index could not be asked; then nothing is said of any artifact.
        ConfigurationError: the lock takes packages from an index that the project does not name.
    """
    lock = read_lock(context)
    packages = [package for package in lock.packages if isinstance(package.source, IndexSource | UrlSource)]
    parallel = context.client.settings.connections
    with (
        context.reporter.task("Asking", "the indexes", unit="packages", total=len(packages)) as task,
        ThreadPoolExecutor(parallel, thread_name_prefix="audit") as pool,
    ):
        asked = _Asked(context, lock)

        def look(package: LockedPackage) -> list[Finding]:
            found = list(asked.findings(package))
            task.advance(1)
            return found

        findings = [finding for found in pool.map(look, packages) for finding in found]
    count = sum(len(_artifacts(package)) for package in packages)
    context.reporter.step("Audited", f"{count} artifacts of {len(packages)} packages")
    return AuditOutcome(findings=tuple(findings), artifacts=count, without_hash=len(asked.without_hash))


class _Asked:
    """Today's pages, each asked for once."""

    def __init__(self, context: Context, lock: Lock) -> None:
        self._client = context.client
        self._indexes: Mapping[str, Index] = {index.name: index for index in context.indexes}
        # Without a folder the cache remembers nothing, so every page is fetched whole.
        self._pages = Pages(context.client, IndexCache(None))
        self._flat = {
            index.name: self._pages.flat(index).entries
            for index in context.indexes
            if index.flat and any(_is_from(package, index.name) for package in lock.packages)
        }
        self.without_hash: list[str] = []
        """File names; a list, because threads add to it."""

    def findings(self, package: LockedPackage) -> Iterator[Finding]:
        """Yield what is wrong with a package's artifacts."""
        if isinstance(package.source, UrlSource):
            if self._client.head(package.source.url).status in (404, 410):
                for artifact in _artifacts(package):
                    yield _finding("vanished", package, artifact)
            return
        entries = {entry.filename: entry.index_file() for entry in self._entries(package)}
        for artifact in _artifacts(package):
            entry = entries.get(artifact.filename)
            if entry is None:
                yield _finding("vanished", package, artifact)
                continue
            if entry.sha256 is None:
                self.without_hash.append(artifact.filename)
            if detail := _difference(artifact, entry):
                yield _finding("changed", package, artifact, detail)
            if entry.yanked is not None and package.yanked is None:
                yield _finding("yanked", package, artifact, entry.yanked)

    def _entries(self, package: LockedPackage) -> Iterable[PageFile]:
        assert isinstance(package.source, IndexSource)
        name = package.source.index
        if name in self._flat:
            return self._flat[name]
        if name not in self._indexes:
            raise ConfigurationError(
                f"the lock takes packages from the index `{name}`, which the project does not name",
                reference="unknown-index",
                hint="add it to `[[tool.pypm.index]]`, or run `pypm lock`",
            )
        page = self._pages.project(self._indexes[name], package.name)
        return () if page is None else page.entries


def _is_from(package: LockedPackage, index: str) -> bool:
    return isinstance(package.source, IndexSource) and package.source.index == index


def _artifacts(package: LockedPackage) -> tuple[LockedArtifact, ...]:
    return (*package.wheels, *((package.sdist,) if package.sdist is not None else ()))


def _difference(artifact: LockedArtifact, entry: IndexFile) -> str:
    if None not in (artifact.sha256, entry.sha256) and artifact.sha256 != entry.sha256:
        return f"locked sha256:{artifact.sha256}, index sha256:{entry.sha256}"
    if None not in (artifact.size_bytes, entry.size_bytes) and artifact.size_bytes != entry.size_bytes:
        return f"locked {artifact.size_bytes} bytes, index {entry.size_bytes} bytes"
    return ""


def _finding(
    what: Literal["changed", "vanished", "yanked"],
    package: LockedPackage,
    artifact: LockedArtifact,
    detail: str = "",
) -> Finding:
    return Finding(
        what=what,
        package=package.name,
        version=package.version or "",
        filename=artifact.filename,
        detail=" ".join(detail.split()),
    )

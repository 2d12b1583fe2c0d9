"""The lock as a `pylock.toml`, which other installers read.

Source: PEP 751.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pypm.codec.lockdata import marker_text
from pypm.codec.locktext import write_text
from pypm.errors import LockError
from pypm.model.artifact import LockedArtifact
from pypm.model.lock import Lock, LockedPackage
from pypm.model.project import (
    DEFAULT_INDEX_NAME,
    IndexSource,
    PathSource,
    UrlSource,
    VcsSource,
    WorkspaceSource,
)

_HEADER = "# Made by `pypm export --format pylock` out of pypm.lock.\n"

FileUrl = Callable[[LockedPackage, LockedArtifact], str]
"""Where an artifact can be downloaded: our lock binds it to no host, PEP 751 wants an address."""


def export_pylock(lock: Lock, *, default_index_url: str, file_url: FileUrl) -> bytes:
    """Return the lock as a PEP 751 file.

    Everything translates but what that format has no words for: fork regions, Merkle roots and the
    content-hash are left out, and a member of a workspace, which has no place of its own in the lock, is
    refused.

    Raises:
        LockError: an artifact has a placeholder in place of its hash, or a package is a workspace member.
    """
    indexes = {DEFAULT_INDEX_NAME: default_index_url}
    indexes.update({index.name: index.url for index in lock.indexes if index.url is not None})
    data = _without_empty(
        {
            "lock-version": "1.0",
            "environments": [marker_text(marker) for marker in lock.environments],
            "requires-python": str(lock.requires_python),
            "extras": list(lock.extras),
            "dependency-groups": list(lock.dependency_groups),
            "default-groups": list(lock.default_groups),
            "created-by": "pypm",
        }
    )
    data["packages"] = [_package(package, indexes, file_url) for package in lock.packages]
    return (_HEADER + write_text(data)).encode("utf-8")


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value not in (None, [])}


def _package(package: LockedPackage, indexes: dict[str, str], file_url: FileUrl) -> dict[str, Any]:
    return _without_empty(
        {
            "name": package.name,
            "version": package.version,
            "marker": None if package.marker is None else marker_text(package.marker),
            "requires-python": None if package.requires_python is None else str(package.requires_python),
            "dependencies": _dependencies(package),
            **_files(package, indexes, file_url),
        }
    )


def _dependencies(package: LockedPackage) -> list[dict[str, str]]:
    """PEP 751 refers to other entries of the file; under which conditions, only their own markers say."""
    unique = {(edge.name, edge.version) for edge in package.dependencies}
    return [
        _without_empty({"name": name, "version": version})
        for name, version in sorted(unique, key=lambda edge: (edge[0], edge[1] or ""))
    ]


def _files(package: LockedPackage, indexes: dict[str, str], file_url: FileUrl) -> dict[str, Any]:
    source = package.source
    if isinstance(source, IndexSource):

        def at_index(artifact: LockedArtifact) -> dict[str, Any]:
            return _artifact(artifact, {"name": artifact.filename, "url": file_url(package, artifact)})

        return {
            "index": indexes.get(source.index),
            "sdist": None if package.sdist is None else at_index(package.sdist),
            "wheels": [at_index(wheel) for wheel in package.wheels],
        }
    if isinstance(source, VcsSource):
        return {
            "vcs": _without_empty(
                {
                    "type": source.kind,
                    "url": source.url,
                    "requested-revision": source.revision,
                    "commit-id": source.commit,
                    "subdirectory": source.subdirectory,
                }
            )
        }
    if isinstance(source, WorkspaceSource):
        raise LockError(
            f"`{package.name}` is a member of a workspace, and `pylock.toml` cannot say so",
            reference="export-workspace",
            hint="export the members one by one",
        )
    return _direct(package, source)


def _direct(package: LockedPackage, source: UrlSource | PathSource) -> dict[str, Any]:
    artifact = next(_artifacts(package), None)
    if isinstance(source, PathSource):
        if artifact is None:
            return {"directory": _without_empty({"path": source.path, "editable": source.editable or None})}
        return {"archive": _artifact(artifact, {"path": source.path})}
    if artifact is None:
        raise LockError(
            f"`{package.name}` has no hash for `{source.url}`",
            reference="lock-invalid",
            hint="make the lock anew with `pypm lock`",
        )
    return {
        "archive": _without_empty(
            {**_artifact(artifact, {"url": source.url}), "subdirectory": source.subdirectory}
        )
    }


def _artifacts(package: LockedPackage) -> Iterator[LockedArtifact]:
    yield from package.wheels
    if package.sdist is not None:
        yield package.sdist


def _artifact(artifact: LockedArtifact, place: dict[str, str]) -> dict[str, Any]:
    if artifact.sha256 is None:
        raise LockError(
            f"`{artifact.filename}` has a placeholder in place of its hash",
            reference="placeholder-hash",
            hint="`pypm lock --refresh` fills it in",
        )
    return _without_empty({**place, "size": artifact.size_bytes, "hashes": {"sha256": artifact.sha256}})

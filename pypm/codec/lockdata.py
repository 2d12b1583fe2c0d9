"""A `Lock` as plain data, sorted so that equal locks give equal data.

Field names and meaning are those of PEP 751 where it has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from packaging.markers import Marker
from packaging.utils import NormalizedName
from packaging.version import Version

from pypm.model.artifact import LockedArtifact
from pypm.model.lock import Lock, LockedDependency, LockedPackage, LockedPlugin
from pypm.model.project import PRERELEASES, STRATEGIES, IndexSource, PathSource, UrlSource, VcsSource

PLACEHOLDER = "sha256:TODO-sha256"
"""A hash that is still to be filled in: `sync` refuses it, `lock --refresh` asks the index for it."""


def lock_to_data(lock: Lock) -> dict[str, Any]:
    """Return the lock's content but for its version and hashes, in the order in which it is written."""
    data: dict[str, Any] = {
        "requires-python": str(lock.requires_python),
        "environments": [marker_text(marker) for marker in lock.environments],
        "forks": [marker_text(marker) for marker in lock.forks],
        "extras": sorted(lock.extras),
        "dependency-groups": sorted(lock.dependency_groups),
        "default-groups": sorted(lock.default_groups),
        "resolution": None if lock.strategy == STRATEGIES[0] else lock.strategy,
        "prerelease": None if lock.prerelease == PRERELEASES[0] else lock.prerelease,
        "exclude-newer": lock.exclude_newer,
        "dependencies": _edges(lock.root_dependencies),
    }
    # Empty entries say nothing; without them most locks have six lines before the first package.
    data = {key: value for key, value in data.items() if value not in (None, [])}
    if lock.extra_dependencies:
        data["optional-dependencies"] = _edge_table(lock.extra_dependencies)
    if lock.group_dependencies:
        data["group-dependencies"] = _edge_table(lock.group_dependencies)
    # The order of indexes is their order of preference.
    data["indexes"] = [_compact(name=index.name, url=index.url) for index in lock.indexes]
    data["plugins"] = [_plugin(plugin) for plugin in sorted(lock.plugins, key=lambda plugin: plugin.name)]
    data["packages"] = [_package(package) for package in sorted(lock.packages, key=_package_order)]
    return {key: value for key, value in data.items() if value != []}


def marker_text(marker: Marker) -> str:
    """Return a marker with single quotes where it has no such inside, as TOML needs no escapes for them."""
    text = str(marker)
    return text if "'" in text else text.replace('"', "'")


def _compact(**values: Any) -> dict[str, Any]:
    return {key.replace("_", "-"): value for key, value in values.items() if value not in (None, [], ())}


def _package_order(package: LockedPackage) -> tuple[str, Version, str, str]:
    return (package.name, Version(package.version or "0"), str(package.source), str(package.marker or ""))


def _edge_table(edges: Mapping[NormalizedName, Iterable[LockedDependency]]) -> dict[str, Any]:
    return {name: _edges(edges[name]) for name in sorted(edges)}


def _edges(edges: Iterable[LockedDependency]) -> list[dict[str, Any]]:
    return [
        _compact(
            name=edge.name,
            version=edge.version,
            marker=None if edge.marker is None else marker_text(edge.marker),
            extras=sorted(edge.extras),
            extra=edge.extra,
        )
        for edge in sorted(edges, key=_edge_order)
    ]


def _edge_order(edge: LockedDependency) -> tuple[str, ...]:
    return (edge.name, edge.version or "", edge.extra or "", ",".join(edge.extras), str(edge.marker or ""))


def _package(package: LockedPackage) -> dict[str, Any]:
    return {
        **_compact(
            name=package.name,
            version=package.version,
            marker=None if package.marker is None else marker_text(package.marker),
            requires_python=None if package.requires_python is None else str(package.requires_python),
        ),
        # An empty reason is a reason too (PEP 592).
        **({} if package.yanked is None else {"yanked": package.yanked}),
        **_source(package),
        **_compact(
            dependencies=_edges(package.dependencies),
            sdist=None if package.sdist is None else _artifact(package.sdist),
            wheels=[_artifact(wheel) for wheel in sorted(package.wheels, key=lambda wheel: wheel.filename)],
        ),
    }


def _plugin(plugin: LockedPlugin) -> dict[str, Any]:
    return _compact(
        name=plugin.name,
        package=plugin.package,
        builds=[
            _compact(
                name=build.filename,
                platform=build.platform,
                origin=build.origin,
                hashes={"sha256": build.sha256},
            )
            for build in sorted(plugin.builds, key=lambda build: build.platform or "")
        ],
    )


def _source(package: LockedPackage) -> dict[str, Any]:
    source = package.source
    if isinstance(source, IndexSource):
        return {"index": source.index}
    if isinstance(source, UrlSource):
        return {"archive": _compact(url=source.url, subdirectory=source.subdirectory)}
    if isinstance(source, PathSource):
        # PEP 751 tells a file from a folder by the key; a file has an artifact that vouches for it.
        kind = "archive" if package.sdist or package.wheels else "directory"
        return {kind: _compact(path=source.path, editable=source.editable or None)}
    if isinstance(source, VcsSource):
        return {
            "vcs": _compact(
                type=source.kind,
                url=source.url,
                requested_revision=source.revision,
                commit_id=source.commit,
                subdirectory=source.subdirectory,
            )
        }
    return {"workspace": True}


def _artifact(artifact: LockedArtifact) -> dict[str, Any]:
    content: dict[str, Any] = {"name": artifact.filename}
    if artifact.size_bytes is not None:
        content["size"] = artifact.size_bytes
    content["hashes"] = {"sha256": artifact.sha256 or PLACEHOLDER}
    if artifact.path is not None:
        content["path"] = artifact.path
    if artifact.upload_time is not None:
        content["upload-time"] = artifact.upload_time
    if artifact.merkle_root is not None:
        content["merkle-root"] = artifact.merkle_root
    return content

"""The digest of what a project asks for: equal for equal meaning, however it is spelt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeGuard

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from pypm.codec.requirements import canonical_requirement
from pypm.digest import Content, Sha256, content_digest
from pypm.model.project import (
    DEFAULT_INDEX_NAME,
    Index,
    IndexSource,
    PathSource,
    Project,
    ResolutionSettings,
    Source,
    UrlSource,
    VcsSource,
)


def content_hash(project: Project, *, default_index_url: str | None = None) -> Sha256:
    """Return the digest over the inputs of resolution; a lock with another one is stale.

    Independent of key order, white space, comments, the order of requirements and their spelling. The
    address of the default index is not part of it, nor that of any index at `default_index_url`: a mirror
    needs no new lock. The project's version is not, because a release does not change what it depends on.
    """
    return content_digest(canonical_inputs(project, default_index_url))


def canonical_inputs(project: Project, default_index_url: str | None = None) -> dict[str, Content]:
    """Return what `content_hash` is computed over, for explanations of what changed."""
    plugins = _plugins(project.tool.get("plugins"))
    return {
        # Only where there are any: the locks of all other projects stay as they are.
        **({"plugins": plugins} if plugins else {}),
        "name": str(project.name) if _name_matters(project) else None,
        "requires-python": ",".join(sorted(str(part) for part in project.requires_python)),
        "dependencies": None if "dependencies" in project.dynamic else _requirements(project.dependencies),
        "optional-dependencies": _table(project.extras),
        "dependency-groups": _table(project.groups),
        "default-groups": sorted(map(str, project.default_groups)),
        "package": project.is_package,
        "indexes": [_index(index, default_index_url) for index in project.indexes],
        "sources": {
            str(name): [_source(source) for source in sorted(sources, key=repr)]
            for name, sources in project.sources.items()
        },
        "build-system": None
        if project.build_system is None or not project.is_package
        else {
            "requires": _requirements(project.build_system.requires),
            "backend": project.build_system.backend,
        },
        "settings": _settings(project.settings),
    }


def _plugins(value: object) -> list[list[str]]:
    """Which plugins there are and which package brings each; what they may does not concern the lock."""
    tables = value if isinstance(value, Mapping) else dict.fromkeys(value) if _is_names(value) else {}
    return sorted(
        [str(name), str(table.get("package", "")) if isinstance(table, Mapping) else ""]
        for name, table in tables.items()
    )


def _is_names(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _name_matters(project: Project) -> bool:
    """A virtual project's name only counts where its own requirements refer to it (`me[extra]`)."""
    every = [project.dependencies, *project.extras.values(), *project.groups.values()]
    return project.is_package or any(
        canonicalize_name(requirement.name) == project.name for group in every for requirement in group
    )


def _settings(settings: ResolutionSettings) -> dict[str, Content]:
    limits = settings.exclude_newer_package
    return {
        "strategy": settings.strategy,
        "prerelease": settings.prerelease,
        "exclude-newer": settings.exclude_newer,
        "exclude-newer-package": {str(name): limit for name, limit in limits.items()},
        "constraints": _requirements(settings.constraints),
        "overrides": _requirements(settings.overrides),
        "exclusions": sorted(map(str, settings.exclusions)),
        "environments": _markers(settings.environments),
        "required-environments": _markers(settings.required_environments),
        "conflicts": sorted(sorted(members) for members in settings.conflicts),
        "no-build": settings.no_build,
        "no-build-package": sorted(map(str, settings.no_build_package)),
        "no-binary": settings.no_binary,
        "no-binary-package": sorted(map(str, settings.no_binary_package)),
    }


def _requirements(requirements: Iterable[Requirement]) -> list[str]:
    return sorted({canonical_requirement(requirement) for requirement in requirements})


def _table(requirements: Mapping[NormalizedName, Iterable[Requirement]]) -> dict[str, Content]:
    return {str(name): _requirements(entries) for name, entries in requirements.items()}


def _markers(markers: Iterable[Marker]) -> list[str]:
    return sorted({str(marker) for marker in markers})


def _index(index: Index, default_index_url: str | None) -> dict[str, Content]:
    is_default = index.name == DEFAULT_INDEX_NAME or index.url == default_index_url
    return {
        "name": DEFAULT_INDEX_NAME if is_default else index.name,
        "url": None if is_default else index.url,
        "explicit": index.explicit,
        "flat": index.flat,
    }


def _source(source: Source) -> dict[str, Content]:
    content: dict[str, Content] = {"marker": None if source.marker is None else str(source.marker)}
    if isinstance(source, IndexSource):
        return {**content, "index": source.index}
    if isinstance(source, UrlSource):
        return {**content, "url": source.url, "subdirectory": source.subdirectory}
    if isinstance(source, PathSource):
        return {**content, "path": source.path, "editable": source.editable}
    if isinstance(source, VcsSource):
        return {
            **content,
            source.kind: source.url,
            "revision": source.revision,
            "subdirectory": source.subdirectory,
        }
    return {**content, "workspace": True}

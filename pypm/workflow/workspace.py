"""Workspaces: projects in one tree that depend on each other, each with a lock of its own.

`[tool.pypm.workspace] members` names the folders, at the root of the tree. For each project of it, every
other member is an editable path dependency, so a change in one is seen by all at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace
from packaging.utils import NormalizedName, canonicalize_name

from pypm.codec.shape import suggestion
from pypm.codec.toml import parse_toml
from pypm.errors import ConfigurationError
from pypm.files import storage_errors
from pypm.model.project import PathSource, Project, Source, WorkspaceSource
from pypm.paths import PROJECT_FILE, is_foreign, project_file
from pypm.regular import read_regular

_KEYS = ("members", "exclude")


def with_members(project: Project) -> Project:
    """Return the project with a path in place of each member that it, or another member, depends on.

    Raises:
        ConfigurationError: the workspace is malformed, or a member that is asked for is none of it.
        StorageError: a member's `pyproject.toml` cannot be read.
    """
    asks = any(isinstance(source, WorkspaceSource) for row in project.sources.values() for source in row)
    if not asks and "workspace" not in project.tool:
        return project
    root = project.root if "workspace" in project.tool else _root_above(project.root)
    members = dict(_members(root)) if root is not None else {}
    sources: dict[NormalizedName, tuple[Source, ...]] = {
        name: (PathSource(path=_relative(folder, project.root), editable=True),)
        for name, folder in members.items()
        if folder != project.root
    }
    for name, row in project.sources.items():
        sources[name] = tuple(_placed(name, source, members, root, project.root) for source in row)
    return replace(project, sources=MappingProxyType(sources))


def member_folders(root: Path) -> frozenset[Path]:
    """Return the folders, behind all links, of the workspace that the project in `root` is a member of.

    Members that a link of the workspace leads out of it to are none of them.

    Raises: ConfigurationError, StorageError: see `with_members`.
    """
    top = _root_above(root)
    if top is None:
        return frozenset()
    folders = (folder.resolve() for folder, _ in _folders(top))
    return frozenset(folder for folder in folders if folder.is_relative_to(top.resolve()))


def _placed(
    name: NormalizedName,
    source: Source,
    members: Mapping[NormalizedName, Path],
    root: Path | None,
    project_root: Path,
) -> Source:
    if not isinstance(source, WorkspaceSource):
        return source
    folder = members.get(name)
    if folder is None:
        where = "there is no workspace here" if root is None else f"`{project_file(root)}` has no such member"
        raise ConfigurationError(
            f"`{name}` is to come from the workspace, and {where}{suggestion(name, members)}",
            reference="workspace-member-missing",
            hint="list its folder in `members` of `[tool.pypm.workspace]`",
        )
    return PathSource(path=_relative(folder, project_root), editable=True, marker=source.marker)


def _relative(folder: Path, root: Path) -> str:
    return Path(os.path.relpath(folder, root)).as_posix()


def _root_above(start: Path) -> Path | None:
    """Return the nearest folder above whose workspace has this project as a member."""
    for folder in start.parents:
        path = project_file(folder)
        if path.is_file() and not is_foreign(str(folder), str(start)) and _settings(path):
            return folder if start in dict(_folders(folder)) else None
    return None


def _settings(path: Path) -> Mapping[str, Any]:
    tool = _document(path).get("tool", {})
    ours = tool.get("pypm", {}) if isinstance(tool, dict) else {}
    found = ours.get("workspace", {}) if isinstance(ours, dict) else {}
    return found if isinstance(found, dict) else {}


def _document(path: Path) -> Mapping[str, Any]:
    with storage_errors(f"read `{path}`"):
        return parse_toml(read_regular(path), file_name=str(path))


def _folders(root: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each member's folder with its `pyproject.toml`, in order."""
    settings = _settings(project_file(root))
    for key in settings:
        if key not in _KEYS:
            raise _malformed(f"`{key}` is not a key of it{suggestion(key, _KEYS)}")
    patterns = {key: settings.get(key, []) for key in _KEYS}
    for key, value in patterns.items():
        for pattern in value if isinstance(value, list) else [None]:
            if not isinstance(pattern, str) or not _is_below(pattern):
                raise _malformed(f"`{key}` must be a list of patterns of folders below the project")
    excluded = {folder for pattern in patterns["exclude"] for folder in root.glob(pattern)}
    found: set[Path] = set()
    for pattern in patterns["members"]:
        folders = {folder for folder in root.glob(pattern) if folder.is_dir()} - excluded
        if not folders and not any(mark in pattern for mark in "*?["):
            raise _malformed(f"the member `{pattern}` does not exist")
        found |= folders
    for folder in sorted({root, *found}):
        if project_file(folder).is_file():
            yield folder, project_file(folder)


def _is_below(pattern: str) -> bool:
    """Whether a pattern is one that `glob` takes and that leads out of no folder."""
    if not pattern or "\0" in pattern or pattern.startswith("/"):
        return False
    return not any(part == ".." or ("**" in part and part != "**") for part in pattern.split("/"))


def _members(root: Path) -> Iterator[tuple[NormalizedName, Path]]:
    names: dict[NormalizedName, Path] = {}
    for folder, path in _folders(root):
        project = _document(path).get("project", {})
        text = project.get("name") if isinstance(project, dict) else None
        if not isinstance(text, str):
            if folder == root:
                continue  # A root that is no project itself only lists the others.
            raise _malformed(f"the member `{_relative(folder, root)}` has no `name` in `[project]`")
        name = canonicalize_name(text)
        if name in names:
            first, second = (_relative(place, root) for place in (names[name], folder))
            raise _malformed(f"`{first}` and `{second}` are both called `{name}`")
        names[name] = folder
        yield name, folder


def _malformed(what: str) -> ConfigurationError:
    return ConfigurationError(
        f"`[tool.pypm.workspace]` of `{PROJECT_FILE}`: {what}",
        reference="malformed-workspace",
        hint='write it as `members = ["packages/*"]`',
    )

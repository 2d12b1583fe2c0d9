"""What a project takes from this machine outside of what came with it: folders, archives, indexes.

Whoever clones a project has not read what it depends on. A path that leads out of it is read, built from and
seen by its runs, and an editable one is given compiled modules: no less than `[tool.pypm.sandbox]` grants, so
it waits for the user's word as well. See docs/design/0036-consent-to-grants.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from pypm.model.project import (
    DEFAULT_INDEX_NAME,
    IndexSource,
    PathSource,
    Project,
    Source,
    VcsSource,
)

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from pypm.workflow.context import Context


def named_sources(project: Project) -> Iterator[Source]:
    """Yield every source that the project names itself: in its tables, or by the address of a requirement.

    Addresses that other packages name are followed only where the project names them, too.
    """
    yield from chain.from_iterable(project.sources.values())
    yield from (IndexSource(index=index.name) for index in project.indexes)
    settings = project.settings
    requirements: Iterable[Requirement] = chain(
        project.dependencies,
        *project.extras.values(),
        *project.groups.values(),
        settings.constraints,
        settings.overrides,
    )
    addressed = [requirement for requirement in requirements if requirement.url]
    if addressed:
        from pypm.resolve.lowering import url_source

        yield from map(url_source, addressed)


def require_consented(context: Context, sources: Iterable[Source]) -> bool:
    """Refuse what lies outside and the user has not consented to; say whether anything lies outside.

    Raises: ConsentError; ConfigurationError: a folder in the project leads out of it.
    """
    folders = _index_folders(context)
    local = [source for source in sources if _is_local(source, folders)]
    if not local:
        return False
    # Late: most projects have no such source, and it takes the sandbox's policies to judge one.
    from pypm.workflow.grants import require_outside

    return require_outside(context, local)


def places_outside(context: Context, sources: Iterable[Source]) -> tuple[Path, ...]:
    """Return the places of this machine, behind all links, that did not come with the project; sorted.

    What came with it is its folder, the git repository that the folder is a part of, and the workspace that
    it is a member of.

    Raises: ConfigurationError: a folder in the project leads out of it.
    """
    folders = _index_folders(context)
    found = {_place(context, source, folders) for source in sources if _is_local(source, folders)}
    return tuple(sorted(place for place in found if not _came_along(context, place)))


def _index_folders(context: Context) -> Mapping[str, str]:
    """Addresses of the indexes on this machine that the project names, and nobody else, by their names."""
    theirs = {index.name for index in context.settings.indexes}
    if context.settings.default_index is not None:
        theirs.add(DEFAULT_INDEX_NAME)
    return {
        index.name: index.url
        for index in context.indexes
        if index.name not in theirs and not index.url.startswith(("https:", "http:"))
    }


def _is_local(source: Source, folders: Mapping[str, str]) -> bool:
    if isinstance(source, IndexSource):
        return source.index in folders
    if isinstance(source, VcsSource):
        return source.url.startswith("file:")
    return isinstance(source, PathSource)


def _place(context: Context, source: Source, folders: Mapping[str, str]) -> Path:
    from pypm.index.pages import local_path

    if isinstance(source, PathSource):
        from pypm.build.project import tree_place

        path = context.root / local_path(source.path)
        return path.resolve() if path.is_file() else tree_place(context.root, str(local_path(source.path)))
    if isinstance(source, IndexSource):
        return local_path(folders[source.index]).resolve()
    assert isinstance(source, VcsSource)
    return local_path(source.url).resolve()


def _came_along(context: Context, place: Path) -> bool:
    root = context.own_folder
    if root is None:
        return False
    root = root.resolve()
    if place.is_relative_to(root):
        return True
    repository = _repository(root, context.home.resolve())
    if repository is not None and _repository(place, context.home.resolve()) == repository:
        return True
    from pypm.workflow.workspace import member_folders

    return place in member_folders(root)


def _repository(place: Path, home: Path) -> Path | None:
    """Return the nearest folder, from `place` upwards, that is a git repository of the user's.

    None where that one holds the home: everything of the user's lies in it.
    """
    for folder in (place, *place.parents):
        git = folder / ".git"
        # A folder without `HEAD` is no repository, but perhaps a sandbox's stand-in for the time of a run.
        if git.is_file() or (git / "HEAD").is_file():
            return folder if _is_own(git) and not home.is_relative_to(folder) else None
    return None


def _is_own(path: Path) -> bool:
    """Whether nobody else made it, as anybody can in a folder such as `/tmp`."""
    return not hasattr(os, "geteuid") or path.lstat().st_uid in (0, os.geteuid())

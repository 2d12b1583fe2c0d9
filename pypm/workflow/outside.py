"""Folders that did not come with a project, into which an editable build of it would write.

An editable build brings compiled modules back into the tree that it was made from. In the project's own that
is what its user wants; in another one of the user's, a project that was just cloned would so plant code that
is later run outside of any sandbox. See docs/design/0036-consent-to-grants.md.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pypm.model.project import PathSource

if TYPE_CHECKING:
    from pypm.workflow.context import Context


def editable_outside(context: Context) -> tuple[Path, ...]:
    """Return the folders, behind all links, that the project names as editable and did not bring along.

    Raises: ConfigurationError: a folder in the project leads out of it.
    """
    named = [source for row in context.project.sources.values() for source in row]
    paths = [source.path for source in named if isinstance(source, PathSource) and source.editable]
    if not paths:
        return ()
    from pypm.build.project import tree_place

    places = {tree_place(context.root, path) for path in paths}
    return tuple(sorted(place for place in places if not came_along(context, place)))


def came_along(context: Context, place: Path) -> bool:
    """Whether a folder, behind all links, came with the project.

    That is its own folder, the git repository that it is a part of, and the workspace that it is a member of.
    """
    project = context.shown_project
    if project is None:
        return False
    root, home = project.root.resolve(), context.home.resolve()
    if place == root:
        return True
    if home.is_relative_to(root):
        return False  # Everything of the user's lies in it.
    if place.is_relative_to(root):
        return True
    repository = _repository(root, home)
    if repository is not None and _repository(place, home) == repository:
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

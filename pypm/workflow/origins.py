"""Where packages that came from no index came from: `direct_url.json` of a path, an address or the project.

Other tools read it: `pip freeze` prints `-e` and `name @ url` by it, editors find the sources by it.

Source: PEP 610, and the direct URL specification for `dir_info` and `archive_info`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from packaging.utils import NormalizedName

from pypm.model.artifact import LockedArtifact
from pypm.model.plan import Pick
from pypm.model.project import PathSource, UrlSource, VcsSource
from pypm.workflow.context import Context
from pypm.workflow.settings import without_login


def direct_urls(context: Context, picks: Iterable[Pick], project: NormalizedName | None) -> Mapping[str, str]:
    """Return the content of each `direct_url.json` by package; `project` names the project's own wheel."""
    origins: dict[str, dict[str, Any]] = {}
    for pick in picks:
        source = pick.package.source
        if isinstance(source, PathSource):
            place = (context.root / source.path).resolve()
            information = _archive(pick.artifact) if pick.artifact else _folder(editable=source.editable)
            origins[pick.package.name] = {"url": place.as_uri(), **information}
        elif isinstance(source, UrlSource):
            below = {"subdirectory": source.subdirectory} if source.subdirectory else {}
            origins[pick.package.name] = {
                "url": without_login(source.url),
                **_archive(pick.artifact),
                **below,
            }
        elif isinstance(source, VcsSource):
            below = {"subdirectory": source.subdirectory} if source.subdirectory else {}
            asked = {"requested_revision": source.revision} if source.revision else {}
            origins[pick.package.name] = {
                "url": without_login(source.url),
                "vcs_info": {"vcs": source.kind, "commit_id": source.commit, **asked},
                **below,
            }
    if project is not None:
        origins[project] = {"url": context.root.resolve().as_uri(), **_folder(editable=True)}
    return {name: json.dumps(origin, sort_keys=True) for name, origin in origins.items()}


def _folder(*, editable: bool) -> dict[str, Any]:
    return {"dir_info": {"editable": True} if editable else {}}


def _archive(artifact: LockedArtifact | None) -> dict[str, Any]:
    known = artifact is not None and artifact.sha256 is not None
    return {"archive_info": {"hashes": {"sha256": artifact.sha256}} if known and artifact else {}}

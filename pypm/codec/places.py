"""`[[tool.pypm.index]]` and `[tool.pypm.sources]`: where packages are taken from."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from packaging.markers import Marker
from packaging.utils import NormalizedName

from pypm.codec.shape import Table, describe, suggestion
from pypm.model.project import (
    DEFAULT_INDEX_NAME,
    DEFAULT_INDEX_URL,
    Index,
    IndexSource,
    PathSource,
    Source,
    UrlSource,
    VcsSource,
    WorkspaceSource,
)

_INDEX_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_KINDS = ("index", "url", "path", "git", "workspace")
_MORE_KEYS = {
    "index": (),
    "url": ("subdirectory",),
    "path": ("editable",),
    "git": ("rev", "tag", "branch", "subdirectory"),
    "workspace": (),
}


def parse_indexes(table: Table) -> tuple[Index, ...]:
    """Return the indexes in order of preference, the default one last."""
    ordinary: list[Index] = []
    default: Index | None = None
    for entry in table.tables("index"):
        entry.close(("name", "url", "explicit", "default", "format"))
        is_default = entry.get("default", bool, False)
        name = _index_name(entry, is_default)
        index = Index(
            name=name,
            url=_index_url(entry),
            explicit=entry.get("explicit", bool, False),
            flat=entry.choice("format", ("simple", "flat"), "simple") == "flat",
        )
        if name in {other.name for other in ordinary} or (default and default.name == name):
            entry.add("name", f"there are two indexes named `{name}`")
        if not is_default:
            ordinary.append(index)
        elif index.explicit:
            entry.add("default", "an index cannot be the default and explicit")
        elif default is not None:
            entry.add("default", f"`{default.name}` is the default index already")
        else:
            default = index
    return (*ordinary, default or Index(name=DEFAULT_INDEX_NAME, url=DEFAULT_INDEX_URL))


def _index_name(entry: Table, is_default: bool) -> str:
    name = entry.text("name")
    if name is None:
        if is_default:
            return DEFAULT_INDEX_NAME
        entry.add("name", "is missing: the lock names indexes, not their addresses")
        return ""
    if not _INDEX_NAME.fullmatch(name):
        entry.add("name", f"`{name}` is not a name: use letters, digits, `-`, `_` and `.`")
    elif name == DEFAULT_INDEX_NAME and not is_default:
        entry.add("name", f"`{DEFAULT_INDEX_NAME}` is the name of the default index; add `default = true`")
    return name


def _index_url(entry: Table) -> str:
    url = entry.text("url")
    if url is None:
        if "url" not in entry:
            entry.add("url", "is missing")
        return ""
    try:
        parts = urlsplit(url)
        has_credentials = parts.password is not None or parts.username is not None
    except ValueError as error:
        entry.add("url", f"`{url}` is not an address: {error}")
        return url
    if parts.scheme in ("http", "https") and not parts.hostname:
        entry.add("url", f"`{url}` names no host")
    if has_credentials:
        # The address is not repeated in the message, which may end up in a public log.
        entry.add("url", "holds credentials; this file is shared, so keep them in `~/.netrc`")
    flat = entry.values.get("format") == "flat"
    if parts.scheme not in ("http", "https", "file") and not flat:
        entry.add("url", f"`{url}` must start with `https://`, `http://` or `file://`")
    return url.rstrip("/")


def parse_sources(table: Table, indexes: Sequence[Index]) -> dict[NormalizedName, tuple[Source, ...]]:
    """Return where each named package is taken from; several sources of one package differ in marker."""
    sources: dict[NormalizedName, tuple[Source, ...]] = {}
    for key, value in table.values.items():
        name = table.name(key, table.at(key))
        if type(value) is dict:
            entries = [table.table(key)]
        elif type(value) is list:
            entries = list(table.tables(key))
        else:
            table.add(key, f"must be a table or a list of tables, not {describe(value)}")
            continue
        found = [source for entry in entries if (source := _source(entry, indexes))]
        if len(entries) > 1 and any(source.marker is None for source in found):
            table.add(key, "each of several sources needs a `marker`")
        if name in sources:
            table.add(key, f"the sources of `{name}` are given twice (names are compared in normalised form)")
        elif name is not None and found:
            sources[name] = tuple(found)
    return sources


def _source(entry: Table, indexes: Sequence[Index]) -> Source | None:
    kinds = [kind for kind in _KINDS if kind in entry]
    if len(kinds) != 1:
        entry.close((*_KINDS, "marker", "editable", "subdirectory", "rev", "tag", "branch"))
        said = " and ".join(f"`{kind}`" for kind in kinds) or "none"
        entry.problems.add(
            entry.path, f"must have exactly one of `index`, `url`, `path`, `git`, `workspace`; has {said}"
        )
        return None
    kind = kinds[0]
    entry.close((kind, "marker", *_MORE_KEYS[kind]))
    text = entry.text("marker")
    marker = None if text is None else entry.marker(text, entry.at("marker"))
    if kind == "workspace":
        if entry.get("workspace", bool, True) is not True:
            entry.add("workspace", "can only be `true`")
        return WorkspaceSource(marker=marker)
    place = entry.text(kind)
    if not place:
        if type(entry.values[kind]) is str:
            entry.add(kind, "is empty")
        return None
    return _SOURCES[kind](entry, place, marker, indexes)


def _index_source(entry: Table, place: str, marker: Marker | None, indexes: Sequence[Index]) -> IndexSource:
    names = [index.name for index in indexes]
    if place not in names:
        entry.add("index", f"there is no index `{place}`{suggestion(place, names)}")
    return IndexSource(index=place, marker=marker)


def _path_source(entry: Table, place: str, marker: Marker | None, _: Sequence[Index]) -> PathSource:
    # One spelling of a path, so that `./lib/` and `lib` are the same input.
    path = posixpath.normpath(place.replace("\\", "/"))
    return PathSource(path=path, editable=entry.get("editable", bool, False), marker=marker)


def _url_source(entry: Table, place: str, marker: Marker | None, _: Sequence[Index]) -> UrlSource:
    if not re.match(r"(https?|file)://", place):
        entry.add("url", f"`{place}` must start with `https://`, `http://` or `file://`")
    return UrlSource(url=place, subdirectory=_subdirectory(entry), marker=marker)


def _git_source(entry: Table, place: str, marker: Marker | None, _: Sequence[Index]) -> VcsSource:
    if place.startswith("-"):
        # git itself would take it for an option.
        entry.add("git", f"`{place}` is not the address of a repository")
    return VcsSource(
        kind="git", url=place, revision=_revision(entry), subdirectory=_subdirectory(entry), marker=marker
    )


_SOURCES: Mapping[str, Callable[[Table, str, Marker | None, Sequence[Index]], Source]] = {
    "index": _index_source,
    "path": _path_source,
    "url": _url_source,
    "git": _git_source,
}


def _subdirectory(entry: Table) -> str | None:
    text = entry.text("subdirectory")
    if text is not None and (text.startswith("/") or ".." in text.split("/")):
        entry.add("subdirectory", f"`{text}` leads out of the source tree")
    return text


def _revision(entry: Table) -> str | None:
    said = [key for key in ("rev", "tag", "branch") if key in entry]
    if len(said) > 1:
        entry.problems.add(entry.path, "has more than one of `rev`, `tag`, `branch`")
    revision = entry.text(said[0]) if said else None
    if revision is not None and revision.startswith("-"):
        entry.add(said[0], f"`{revision}` is not a revision")
    return revision

"""Plain data to a `Lock`, every field checked on the way in.

Field names and meaning are those of PEP 751 where it has them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NoReturn

from packaging.markers import InvalidMarker, Marker
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import NormalizedName, is_normalized_name
from packaging.version import InvalidVersion, Version

from pypm.codec.filenames import SDIST_EXTENSIONS
from pypm.codec.lockdata import PLACEHOLDER
from pypm.digest import Sha256
from pypm.errors import LockError
from pypm.model.artifact import LockedArtifact
from pypm.model.lock import (
    Lock,
    LockedDependency,
    LockedIndex,
    LockedPackage,
    LockedPlugin,
    PluginBuild,
)
from pypm.model.project import (
    DEFAULT_INDEX_NAME,
    PRERELEASES,
    STRATEGIES,
    IndexSource,
    PathSource,
    Source,
    UrlSource,
    VcsSource,
    WorkspaceSource,
)

_HEX = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_PATH = re.compile(r"(?![^/]*:)(?!.*(?:^|/)\.\.(?:/|$))[^/\\\x00-\x1f][^\\\x00-\x1f]*")
"""A path below a base: no `..`, no root, no scheme or drive (its first part would hold a colon)."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME_RUNS = re.compile(r"[-_.]+")
_FILE_NAME = re.compile(r"(?!\.\.?$)[^/\\:\x00-\x1f]+")

_TOP_KEYS = frozenset((
    "lock-version", "content-hash", "lock-hash", "requires-python", "environments", "forks", "extras",
    "dependency-groups", "default-groups", "resolution", "prerelease", "exclude-newer",
    "dependencies", "optional-dependencies", "group-dependencies", "indexes", "packages", "plugins",
))  # fmt: skip
_PACKAGE_KEYS = frozenset((
    "name", "version", "marker", "requires-python", "yanked", "index", "archive", "directory", "vcs",
    "workspace", "dependencies", "sdist", "wheels",
))  # fmt: skip
_ARTIFACT_KEYS = frozenset(("name", "size", "hashes", "path", "upload-time", "merkle-root"))
_PLUGIN_KEYS = frozenset(("name", "package", "builds"))
_BUILD_KEYS = frozenset(("name", "platform", "origin", "hashes"))
_DEPENDENCY_KEYS = frozenset(("name", "version", "marker", "extras", "extra"))


class LockReader:
    """Plain data to a `Lock`, for one file; the first problem ends the reading: no person writes locks."""

    def __init__(self, file_name: str) -> None:
        self.file_name = file_name

    def lock(self, data: Mapping[str, Any]) -> Lock:
        """Return the lock.

        Raises:
            LockError: a field is missing, unknown, of the wrong type or malformed; the message has its path.
        """
        self._close(data, _TOP_KEYS, "")
        indexes = tuple(
            self._index(entry, f"indexes[{number}]")
            for number, entry in enumerate(self._tables(data, "indexes"))
        )
        index_names = {DEFAULT_INDEX_NAME, *(index.name for index in indexes)}
        return Lock(
            content_hash=self._sha256(data, "content-hash", ""),
            requires_python=self._specifiers(self._text(data, "requires-python", ""), "requires-python"),
            packages=tuple(
                self._package(entry, f"packages[{number}]", index_names)
                for number, entry in enumerate(self._tables(data, "packages"))
            ),
            environments=self._markers(data, "environments"),
            forks=self._markers(data, "forks"),
            extras=self._names(data, "extras", ""),
            dependency_groups=self._names(data, "dependency-groups", ""),
            default_groups=self._names(data, "default-groups", ""),
            indexes=indexes,
            root_dependencies=self._edges(data, ""),
            extra_dependencies=self._edge_table(data, "optional-dependencies"),
            group_dependencies=self._edge_table(data, "group-dependencies"),
            plugins=tuple(
                self._plugin(entry, f"plugins[{number}]")
                for number, entry in enumerate(self._tables(data, "plugins"))
            ),
            strategy=self._choice(data, "resolution", STRATEGIES),
            prerelease=self._choice(data, "prerelease", PRERELEASES),
            exclude_newer=self._optional_text(data, "exclude-newer", ""),
        )

    def refuse(self, path: str, problem: str) -> NoReturn:
        """End the reading at a place.

        Raises:
            LockError: always.
        """
        raise LockError(
            f"`{self.file_name}` is not a valid lock: `{path}` {problem}",
            reference="lock-invalid",
            hint="make it anew with `pypm lock`",
        )

    def _close(self, table: Mapping[str, Any], known: frozenset[str], where: str) -> None:
        if not table.keys() <= known:
            key = min(table.keys() - known)
            self.refuse(f"{where}.{key}" if where else key, "is not a field of this lock format")

    def _choice(self, table: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str:
        value = self._optional_text(table, key, "")
        if value is not None and value not in choices:
            self.refuse(key, f"is none of {', '.join(choices)}")
        return choices[0] if value is None else value

    def _text(self, table: Mapping[str, Any], key: str, where: str) -> str:
        value = table.get(key)
        if type(value) is not str:
            self.refuse(f"{where}.{key}" if where else key, "is missing" if value is None else "is not text")
        return value

    def _line(self, table: Mapping[str, Any], key: str, where: str) -> str:
        """Text that other files repeat in a line of their own: a line break in it would begin another."""
        text = self._text(table, key, where)
        if _CONTROL.search(text):
            self.refuse(f"{where}.{key}", "holds a control character")
        return text

    def _optional_text(self, table: Mapping[str, Any], key: str, where: str) -> str | None:
        return self._text(table, key, where) if key in table else None

    def _tables(self, table: Mapping[str, Any], key: str, where: str = "") -> list[dict[str, Any]]:
        value = table.get(key, [])
        if type(value) is not list or any(type(item) is not dict for item in value):
            self.refuse(f"{where}.{key}" if where else key, "is not a list of tables")
        return value

    def _texts(self, table: Mapping[str, Any], key: str, where: str) -> list[str]:
        value = table.get(key, [])
        if type(value) is not list or any(type(item) is not str for item in value):
            self.refuse(f"{where}.{key}" if where else key, "is not a list of texts")
        return value

    def _name(self, text: str, where: str) -> NormalizedName:
        if not is_normalized_name(text):
            self.refuse(where, f"is not a normalised name: `{text}`")
        return NormalizedName(text)

    def _names(self, table: Mapping[str, Any], key: str, where: str) -> tuple[NormalizedName, ...]:
        path = f"{where}.{key}" if where else key
        return tuple(self._name(text, path) for text in self._texts(table, key, where))

    def _version(self, table: Mapping[str, Any], where: str) -> str | None:
        text = self._optional_text(table, "version", where)
        if text is not None and not _is_version(text):
            self.refuse(f"{where}.version", f"is not a version: `{text}`")
        return text

    def _specifiers(self, text: str, where: str) -> SpecifierSet:
        try:
            return _specifiers(text)
        except InvalidSpecifier:
            self.refuse(where, f"is not a version condition: `{text}`")

    def _marker(self, text: str, where: str) -> Marker:
        try:
            return parse_marker(text)
        except InvalidMarker:
            self.refuse(where, f"is not a marker: `{text}`")

    def _optional_marker(self, table: Mapping[str, Any], where: str) -> Marker | None:
        return (
            self._marker(self._text(table, "marker", where), f"{where}.marker") if "marker" in table else None
        )

    def _markers(self, table: Mapping[str, Any], key: str) -> tuple[Marker, ...]:
        return tuple(self._marker(text, key) for text in self._texts(table, key, ""))

    def _sha256(self, table: Mapping[str, Any], key: str, where: str) -> Sha256:
        match = _HEX.fullmatch(self._text(table, key, where))
        if match is None:
            self.refuse(f"{where}.{key}" if where else key, f"is not a SHA-256 digest: `{table[key]}`")
        return Sha256(match[1])

    def _index(self, table: Mapping[str, Any], where: str) -> LockedIndex:
        self._close(table, frozenset(("name", "url")), where)
        return LockedIndex(
            name=self._text(table, "name", where), url=self._optional_text(table, "url", where)
        )

    def _edge_table(
        self, data: Mapping[str, Any], key: str
    ) -> Mapping[NormalizedName, tuple[LockedDependency, ...]]:
        table = data.get(key, {})
        if type(table) is not dict:
            self.refuse(key, "is not a table")
        return MappingProxyType({self._name(name, key): self._edges(table, key, name) for name in table})

    def _edges(
        self, table: Mapping[str, Any], where: str, key: str = "dependencies"
    ) -> tuple[LockedDependency, ...]:
        path = f"{where}.{key}" if where else key
        return tuple(
            self._edge(entry, f"{path}[{number}]")
            for number, entry in enumerate(self._tables(table, key, where))
        )

    def _edge(self, table: Mapping[str, Any], where: str) -> LockedDependency:
        self._close(table, _DEPENDENCY_KEYS, where)
        extra = self._optional_text(table, "extra", where)
        return LockedDependency(
            name=self._name(self._text(table, "name", where), f"{where}.name"),
            version=self._version(table, where),
            marker=self._optional_marker(table, where),
            extras=self._names(table, "extras", where),
            extra=None if extra is None else self._name(extra, f"{where}.extra"),
        )

    def _package(self, table: Mapping[str, Any], where: str, index_names: set[str]) -> LockedPackage:
        self._close(table, _PACKAGE_KEYS, where)
        name = self._name(self._text(table, "name", where), f"{where}.name")
        requires_python = self._optional_text(table, "requires-python", where)
        sdist = table.get("sdist")
        # What lies at an address of its own may have any file name.
        owner = name if "index" in table else None
        return LockedPackage(
            name=name,
            version=self._version(table, where),
            source=self._place(table, where, index_names),
            marker=self._optional_marker(table, where),
            requires_python=None
            if requires_python is None
            else self._specifiers(requires_python, f"{where}.requires-python"),
            dependencies=self._edges(table, where),
            sdist=None if sdist is None else self._artifact(sdist, f"{where}.sdist", owner),
            wheels=tuple(
                self._artifact(wheel, f"{where}.wheels[{number}]", owner)
                for number, wheel in enumerate(self._tables(table, "wheels", where))
            ),
            yanked=self._optional_text(table, "yanked", where),
        )

    def _plugin(self, table: Mapping[str, Any], where: str) -> LockedPlugin:
        self._close(table, _PLUGIN_KEYS, where)
        package = self._optional_text(table, "package", where)
        builds = tuple(
            self._plugin_build(entry, f"{where}.builds[{number}]")
            for number, entry in enumerate(self._tables(table, "builds", where))
        )
        if len({build.platform for build in builds}) != len(builds):
            self.refuse(f"{where}.builds", "has two builds for one platform")
        if bool(builds) is (package is not None):
            self.refuse(where, "must have either `builds` or a `package`")
        return LockedPlugin(
            name=self._name(self._text(table, "name", where), f"{where}.name"),
            package=None if package is None else self._name(package, f"{where}.package"),
            builds=builds,
        )

    def _plugin_build(self, table: Mapping[str, Any], where: str) -> PluginBuild:
        self._close(table, _BUILD_KEYS, where)
        filename = self._text(table, "name", where)
        if not _FILE_NAME.fullmatch(filename):
            self.refuse(f"{where}.name", f"is not a file name: `{filename}`")
        return PluginBuild(
            filename=filename,
            platform=self._optional_text(table, "platform", where),
            origin=self._text(table, "origin", where),
            sha256=self._sha256(self._hashes(table, where), "sha256", f"{where}.hashes"),
        )

    def _hashes(self, table: Mapping[str, Any], where: str) -> Mapping[str, Any]:
        hashes = table.get("hashes")
        if type(hashes) is not dict or hashes.keys() != {"sha256"}:
            self.refuse(f"{where}.hashes", "is missing or is not `{ sha256 = ... }`")
        return hashes

    def _artifact(self, table: Any, where: str, owner: str | None) -> LockedArtifact:
        if type(table) is not dict:
            self.refuse(where, "is not a table")
        self._close(table, _ARTIFACT_KEYS, where)
        filename = self._text(table, "name", where)
        if not _FILE_NAME.fullmatch(filename):
            self.refuse(f"{where}.name", f"is not a file name: `{filename}`")
        if owner is not None and not _belongs_to(filename, owner, is_sdist=where.endswith(".sdist")):
            self.refuse(f"{where}.name", f"is not a file of `{owner}`: `{filename}`")
        size = table.get("size")
        if size is not None and (type(size) is not int or size < 0):
            self.refuse(f"{where}.size", f"is not a number of bytes: `{size}`")
        path = self._optional_text(table, "path", where)
        if path is not None and not _PATH.fullmatch(path):
            self.refuse(f"{where}.path", f"is not a path below the index's file base: `{path}`")
        hashes = self._hashes(table, where)
        return LockedArtifact(
            filename=filename,
            sha256=None
            if hashes["sha256"] == PLACEHOLDER
            else self._sha256(hashes, "sha256", f"{where}.hashes"),
            size_bytes=size,
            path=path,
            upload_time=self._optional_text(table, "upload-time", where),
            merkle_root=self._sha256(table, "merkle-root", where) if "merkle-root" in table else None,
        )

    def _place(self, table: Mapping[str, Any], where: str, index_names: set[str]) -> Source:
        kinds = [kind for kind in ("index", "archive", "directory", "vcs", "workspace") if kind in table]
        if len(kinds) != 1:
            self.refuse(where, "must have exactly one of `index`, `archive`, `directory`, `vcs`, `workspace`")
        kind = kinds[0]
        if kind == "index":
            name = self._text(table, "index", where)
            if name not in index_names:
                self.refuse(f"{where}.index", f"is none of the lock's indexes: `{name}`")
            return IndexSource(index=name)
        if kind == "workspace":
            if table["workspace"] is not True:
                self.refuse(f"{where}.workspace", "can only be `true`")
            return WorkspaceSource()
        place = table[kind]
        if type(place) is not dict:
            self.refuse(f"{where}.{kind}", "is not a table")
        return self._direct_place(place, kind, f"{where}.{kind}")

    def _direct_place(self, place: Mapping[str, Any], kind: str, where: str) -> Source:
        if "path" in place:
            self._close(place, frozenset(("path", "editable")), where)
            if type(place.get("editable", False)) is not bool:
                self.refuse(f"{where}.editable", "is not `true` or `false`")
            return PathSource(path=self._line(place, "path", where), editable=place.get("editable", False))
        subdirectory = self._optional_text(place, "subdirectory", where)
        if subdirectory is not None and not _PATH.fullmatch(subdirectory):
            self.refuse(f"{where}.subdirectory", f"leads out of the source tree: `{subdirectory}`")
        if kind == "archive":
            self._close(place, frozenset(("url", "subdirectory")), where)
            return UrlSource(url=self._line(place, "url", where), subdirectory=subdirectory)
        if kind == "directory":
            self.refuse(f"{where}.path", "is missing")
        self._close(
            place, frozenset(("type", "url", "requested-revision", "commit-id", "subdirectory")), where
        )
        commit = self._text(place, "commit-id", where)
        if place.get("type") != "git" or not _COMMIT.fullmatch(commit):
            self.refuse(where, "is not a commit of a git repository")
        return VcsSource(
            kind="git",
            url=self._line(place, "url", where),
            revision=self._optional_text(place, "requested-revision", where),
            commit=commit,
            subdirectory=subdirectory,
        )


@lru_cache(maxsize=4096)
def parse_marker(text: str) -> Marker:
    """Return a marker; the same object for the same text, for a lock repeats a few many times.

    Raises:
        packaging.markers.InvalidMarker: it is not a marker.
    """
    return Marker(text)


@lru_cache(maxsize=1024)
def _specifiers(text: str) -> SpecifierSet:
    return SpecifierSet(text)


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _belongs_to(filename: str, name: str, *, is_sdist: bool) -> bool:
    """Tell whether a file is a wheel or an sdist of this package; the version is the store's to check."""
    stem = filename[: len(name) + 1].lower()
    if stem != f"{name}-" and not _NAME_RUNS.sub("-", filename).lower().startswith(f"{name}-"):
        return False
    if is_sdist:
        return filename.endswith(SDIST_EXTENSIONS)
    return filename.endswith(".whl") and filename.count("-") in (4, 5)

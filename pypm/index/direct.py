"""Offers of exactly one version: a URL, an archive on disk, a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from pypm.codec.filenames import filename_of_url, parse_sdist_name, parse_wheel_name
from pypm.codec.metadata import CoreMetadata, MetadataError, parse_metadata, static_metadata
from pypm.codec.simple import redact
from pypm.codec.toml import parse_toml
from pypm.errors import ConfigurationError
from pypm.index.archives import Archives
from pypm.index.auth import split_login
from pypm.index.git import Repositories
from pypm.index.metadata import BuildMetadata
from pypm.index.pages import local_path
from pypm.model.artifact import IndexFile, Sha256
from pypm.model.candidate import Candidate
from pypm.model.project import PathSource, Source, UrlSource, VcsSource
from pypm.paths import PROJECT_FILE
from pypm.regular import read_regular
from pypm.resolve.provider import Unavailable

UNKNOWN_VERSION = Version("0")
"""Stands for the version of a folder while it is being built to find out."""


class DirectOffer(Struct, frozen=True, kw_only=True):
    """One version, take it or leave it."""

    only: Candidate
    metadata: CoreMetadata | None = None
    """Known already for folders, whose version comes from it."""
    sources: frozenset[NormalizedName] = frozenset()
    """Packages that a folder's own `[tool.pypm.sources]` takes from elsewhere."""

    @property
    def versions(self) -> Sequence[Version]:
        """The one version."""
        return (self.only.version,)

    @property
    def excluded(self) -> Mapping[Version, str]:
        """Nothing: who names a file wants it."""
        return MappingProxyType({})

    def candidate(self, version: Version) -> Candidate:
        """Return the one candidate."""
        if version != self.only.version:
            raise KeyError(version)
        return self.only


def url_offer(name: NormalizedName, source: UrlSource, archives: Archives) -> DirectOffer:
    """Return what lies at a URL. The file is fetched: only its bytes tell the hash that the lock needs.

    Raises:
        Unavailable: it is no wheel or sdist of this name.
        IndexAccessError, IntegrityError, StorageError: it could not be had.
    """
    url, _, fragment = split_login(source.url)[0].partition("#")
    stated = dict(pair.partition("=")[::2] for pair in fragment.split("&")).get("sha256")
    filename = filename_of_url(url)
    version = _archive_version(name, filename, redact(url))
    file = IndexFile(filename=filename, url=url, sha256=None if stated is None else Sha256(stated.lower()))
    path = archives.fetch(file) if stated is not None else None
    file = replace(file, size_bytes=path.stat().st_size) if path is not None else archives.hashed(file)
    return DirectOffer(only=_of_file(name, version, source, file))


def git_offer(
    name: NormalizedName, source: VcsSource, repositories: Repositories, build_metadata: BuildMetadata | None
) -> DirectOffer:
    """Return what lies at a commit of a repository; the candidate's source names the commit.

    Raises:
        ConfigurationError: the address may not be used.
        IndexAccessError: the repository cannot be read, or has no such revision.
        Unavailable: there is no project of this name, or only a build would tell its version.
    """
    pinned = repositories.pinned(source)
    return _tree_offer(name, pinned, redact(source.url), repositories.tree(pinned), build_metadata)


def path_offer(
    name: NormalizedName,
    source: PathSource,
    root: Path,
    archives: Archives,
    build_metadata: BuildMetadata | None,
) -> DirectOffer:
    """Return what lies at a path: an archive, or a folder with a project in it.

    Raises:
        ConfigurationError: nothing lies there.
        Unavailable: it is no wheel, sdist or project of this name, or only a build would tell its version.
    """
    path = (root / local_path(source.path)).absolute()
    if path.is_file():
        version = _archive_version(name, path.name, str(path))
        file = archives.hashed(IndexFile(filename=path.name, url=path.as_uri(), sha256=None))
        return DirectOffer(only=_of_file(name, version, source, file))
    if not path.is_dir():
        raise ConfigurationError(
            f"`{source.path}`, the source of `{name}`, does not exist",
            reference="source-missing",
            hint=f"check the path, in `[tool.pypm.sources] {name}` or behind the `@` of the requirement",
        )
    return _tree_offer(name, source, source.path, path, build_metadata)


def _tree_offer(
    name: NormalizedName,
    source: PathSource | VcsSource,
    place: str,
    tree: Path,
    build_metadata: BuildMetadata | None,
) -> DirectOffer:
    metadata = _tree_metadata(name, source, place, tree, build_metadata)
    if metadata.name != name:
        raise Unavailable(
            f"`{place}` holds `{metadata.name}`, not `{name}`", hint=f"require it as `{metadata.name}`"
        )
    only = Candidate(
        name=name, version=metadata.version, source=source, requires_python=metadata.requires_python
    )
    return DirectOffer(only=only, metadata=metadata, sources=_own_sources(tree))


def _own_sources(tree: Path) -> frozenset[NormalizedName]:
    """Return the names that the project in a folder has sources for; what is malformed there names none."""
    table: Any = {}
    with suppress(OSError, ConfigurationError):
        table = parse_toml(read_regular(tree / PROJECT_FILE), file_name=PROJECT_FILE)
    for key in ("tool", "pypm", "sources"):
        table = table.get(key, {}) if isinstance(table, dict) else {}
    return frozenset(map(canonicalize_name, table)) if isinstance(table, dict) else frozenset()


def _tree_metadata(
    name: NormalizedName,
    source: PathSource | VcsSource,
    place: str,
    tree: Path,
    build_metadata: BuildMetadata | None,
) -> CoreMetadata:
    try:
        static = static_metadata(read_regular(tree / PROJECT_FILE))
    except OSError:
        static = None
    if static is not None:
        return static
    if build_metadata is None:
        raise Unavailable(
            f"only a build would tell what `{place}` needs",
            hint="allow builds, or state its version and dependencies in its `pyproject.toml`",
        )
    try:
        return parse_metadata(
            build_metadata(Candidate(name=name, version=UNKNOWN_VERSION, source=source), tree)
        )
    except MetadataError as error:
        raise Unavailable(f"`{place}` builds with bad metadata: {error}") from error


def _archive_version(name: NormalizedName, filename: str, place: str) -> Version:
    parsed = parse_wheel_name(filename) or parse_sdist_name(filename)
    if parsed is None:
        raise Unavailable(f"`{place}` is neither a wheel nor a source distribution, by its name")
    if parsed.name != name:
        raise Unavailable(
            f"`{place}` is a file of `{parsed.name}`, not of `{name}`", hint=f"require it as `{parsed.name}`"
        )
    return parsed.version


def _of_file(name: NormalizedName, version: Version, source: Source, file: IndexFile) -> Candidate:
    is_wheel = file.filename.endswith(".whl")
    return Candidate(
        name=name,
        version=version,
        source=source,
        wheels=(file,) if is_wheel else (),
        sdists=() if is_wheel else (file,),
    )

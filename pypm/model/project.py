"""The project as its author wrote it: `pyproject.toml`, validated, with nothing resolved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from msgspec import Struct, field
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName

DEFAULT_INDEX_NAME = "default"
"""How the lock names the index that is used when a project configures none."""

DEFAULT_INDEX_URL = "https://pypi.org/simple"
"""The only place where the public index's host is written."""


STRATEGIES = ("highest", "lowest", "lowest-direct")
PRERELEASES = ("if-necessary", "explicit", "allow", "disallow")
"""What `resolution` and `prerelease` can be; the first of each is meant where nothing is said."""


class Index(Struct, frozen=True, kw_only=True):
    """A place that serves project pages or, when `flat`, one page or folder of files (find-links)."""

    name: str
    url: str
    """Without credentials; those come from netrc, the environment or the configured URL at run time."""
    explicit: bool = False
    """Used only for the packages that name it in their source."""
    flat: bool = False


class IndexSource(Struct, frozen=True, kw_only=True):
    """Take the package from this index and no other."""

    index: str
    marker: Marker | None = None


class UrlSource(Struct, frozen=True, kw_only=True):
    """A wheel or sdist at a fixed address."""

    url: str
    subdirectory: str | None = None
    marker: Marker | None = None


class PathSource(Struct, frozen=True, kw_only=True):
    """A folder, wheel or sdist on this machine."""

    path: str
    """Posix, relative to the project root where it lies below or beside it."""
    editable: bool = False
    marker: Marker | None = None


class VcsSource(Struct, frozen=True, kw_only=True):
    """A commit of a repository."""

    kind: Literal["git"]
    url: str
    revision: str | None = None
    """A branch, a tag or a commit, as it was asked for."""
    subdirectory: str | None = None
    marker: Marker | None = None
    commit: str | None = None
    """What the revision means: the full object name, once it was looked up."""


class WorkspaceSource(Struct, frozen=True, kw_only=True):
    """Another member of the same workspace."""

    marker: Marker | None = None


Source = IndexSource | UrlSource | PathSource | VcsSource | WorkspaceSource


class ResolutionSettings(Struct, frozen=True, kw_only=True):
    """What steers the resolver besides the requirements. Part of the lock's content-hash."""

    strategy: Literal["highest", "lowest", "lowest-direct"] = "highest"
    prerelease: Literal["if-necessary", "explicit", "allow", "disallow"] = "if-necessary"
    exclude_newer: str | None = None
    """ISO 8601 date or time in UTC, or a duration ("7 days"), as written."""
    exclude_newer_package: Mapping[NormalizedName, str | None] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """The same for single packages; None lifts the limit."""
    constraints: tuple[Requirement, ...] = ()
    overrides: tuple[Requirement, ...] = ()
    exclusions: tuple[NormalizedName, ...] = ()
    environments: tuple[Marker, ...] = ()
    """The universe is narrowed to these; empty means everything that `requires-python` admits."""
    required_environments: tuple[Marker, ...] = ()
    conflicts: tuple[tuple[str, ...], ...] = ()
    """Sets of `extra:NAME` / `group:NAME` that are never asked for together."""
    no_build: bool = False
    no_build_package: tuple[NormalizedName, ...] = ()
    no_binary: bool = False
    no_binary_package: tuple[NormalizedName, ...] = ()


class BuildSystem(Struct, frozen=True, kw_only=True):
    """`[build-system]` (PEP 518); the legacy setuptools default when a folder has only a setup.py."""

    requires: tuple[Requirement, ...]
    backend: str
    backend_path: tuple[str, ...] = ()


class Project(Struct, frozen=True, kw_only=True):
    """Everything that pypm reads from `pyproject.toml`."""

    root: Path
    name: NormalizedName
    version: str | None
    """None when dynamic or when the project has no version at all."""
    requires_python: SpecifierSet
    dependencies: tuple[Requirement, ...]
    extras: Mapping[NormalizedName, tuple[Requirement, ...]]
    groups: Mapping[NormalizedName, tuple[Requirement, ...]]
    """PEP 735 groups, `include-group` already expanded."""
    default_groups: tuple[NormalizedName, ...]
    """Groups that are installed unless asked otherwise; `dev` when it exists and nothing is said."""
    indexes: tuple[Index, ...]
    """In order of preference; the default index is last unless it is configured otherwise."""
    sources: Mapping[NormalizedName, tuple[Source, ...]]
    settings: ResolutionSettings
    build_system: BuildSystem | None
    is_package: bool
    """The project itself is built and installed (editable); false for a virtual project."""
    dynamic: frozenset[str]
    sandbox: Mapping[str, Any]
    """`[tool.pypm.sandbox]` as written; `pypm.isolation` gives it meaning and refuses the unknown."""
    tool: Mapping[str, Any]
    """The rest of `[tool.pypm]`, for the rooms that own those keys."""
    scripts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Console and GUI scripts: name to object reference (`module:function`)."""

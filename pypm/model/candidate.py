"""What an index offers under one name, before anything is chosen."""

from __future__ import annotations

from msgspec import Struct, field
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName
from packaging.version import Version

from pypm.model.artifact import IndexFile
from pypm.model.project import Source


class Candidate(Struct, frozen=True, kw_only=True):
    """One version of one package from one place, with all its files."""

    name: NormalizedName
    version: Version
    source: Source
    wheels: tuple[IndexFile, ...] = ()
    sdists: tuple[IndexFile, ...] = ()
    yanked: str | None = None
    """Set only when every file of the version is yanked."""
    requires_python: SpecifierSet | None = None
    """The files' `data-requires-python`, when they agree; the metadata has the last word."""


class CandidateMetadata(Struct, frozen=True, kw_only=True):
    """The core metadata that resolution needs."""

    name: NormalizedName
    version: Version
    requires_dist: tuple[Requirement, ...]
    requires_python: SpecifierSet | None
    extras: frozenset[NormalizedName] = field(default_factory=frozenset)

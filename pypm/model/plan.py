"""From a lock and a target to what has to be done, as data before action."""

from __future__ import annotations

from msgspec import Struct
from packaging.utils import NormalizedName

from pypm.model.artifact import LockedArtifact
from pypm.model.lock import LockedPackage
from pypm.model.wheel import StoredWheel


class Selection(Struct, frozen=True, kw_only=True):
    """What of the lock is wanted: which extras and groups."""

    extras: frozenset[NormalizedName] = frozenset()
    groups: frozenset[NormalizedName] = frozenset()
    project: bool = True
    """Whether the project itself is installed (`--no-install-project` says no)."""
    dependencies: bool = True
    """Whether the project's own dependencies are installed; false for `--only-group`, where packages
    that only they reach are left out."""


class Pick(Struct, frozen=True, kw_only=True):
    """One package and the one artifact that serves the target best."""

    package: LockedPackage
    artifact: LockedArtifact | None
    """A wheel that fits, else the sdist, which must be built; None for a source tree (path, editable)."""


class Plan(Struct, frozen=True, kw_only=True):
    """What a sync does: reuse what the store holds, fetch the missing wheels, build the rest."""

    reuse: tuple[tuple[Pick, StoredWheel], ...]
    fetch: tuple[Pick, ...]
    build: tuple[Pick, ...]

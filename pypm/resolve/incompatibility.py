"""Incompatibilities: sets of terms that cannot all be true, each with the reason why.

Source: N. Weizenbaum, "PubGrub: Next-Generation Version Solving", 2018.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from packaging.version import Version

from pypm.resolve.lowering import Dependency

Term = tuple[int, int]
"""(package, states): true when the package's state is among these bits."""


class FromDependency(Struct, frozen=True):
    """These versions of a package, or an extra of theirs, require something."""

    parent: int
    """The package, or the extra of it that requires more."""
    versions: int
    """Of the package."""
    dependency: Dependency
    target: int


class Refusal(Struct, frozen=True):
    """Why a version that is offered cannot be used."""

    kind: Literal["python", "yanked", "prerelease", "wheels", "python-wheels", "required", "metadata"]
    reason: str
    """Follows the version in a sentence: "was yanked", "requires Python >=3.11"."""
    hint: str | None = None


class FromUnusable(Struct, frozen=True):
    """A version exists and cannot be used."""

    package: int
    version: Version
    refusal: Refusal


class FromConflict(Struct, frozen=True):
    """Derived: whenever both parents hold, so does this."""

    left: Incompatibility
    right: Incompatibility


Cause = FromDependency | FromUnusable | FromConflict


class Incompatibility:
    """Terms that are never all true at once. Compared by identity; never changed once made."""

    __slots__ = ("cause", "terms")

    def __init__(self, terms: tuple[Term, ...], cause: Cause) -> None:
        self.terms = terms
        self.cause = cause

    def mask(self, package: int) -> int | None:
        """Return the states that the incompatibility names for a package."""
        for other, states in self.terms:
            if other == package:
                return states
        return None

"""What differs between two locks, package by package, as a person would tell it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from packaging.utils import NormalizedName

from pypm.model.lock import Lock
from pypm.model.project import VcsSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One package whose pins differ."""

    name: NormalizedName
    before: tuple[str, ...]
    """Versions in the old lock; empty when the package is new."""
    after: tuple[str, ...]
    """Versions in the new lock; empty when the package is gone."""

    @property
    def sign(self) -> str:
        """`+` added, `-` removed, `~` moved."""
        if not self.before:
            return "+"
        return "~" if self.after else "-"

    def __str__(self) -> str:
        before, after = ", ".join(self.before), ", ".join(self.after)
        if not self.before or not self.after:
            return f"{self.name} {before or after}"
        return f"{self.name} {before} -> {after}"


def compare(before: Lock | None, after: Lock) -> tuple[Change, ...]:
    """Return the packages whose versions or commits differ, sorted by name."""
    old = _versions(before)
    new = _versions(after)
    return tuple(
        Change(name=name, before=old.get(name, ()), after=new.get(name, ()))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def _versions(lock: Lock | None) -> dict[NormalizedName, tuple[str, ...]]:
    found: dict[NormalizedName, list[str]] = defaultdict(list)
    for package in lock.packages if lock else ():
        version = package.version or "(from its source)"
        if isinstance(package.source, VcsSource) and package.source.commit is not None:
            version += f" ({package.source.commit[:8]})"
        found[package.name].append(version)
    return {name: tuple(versions) for name, versions in found.items()}

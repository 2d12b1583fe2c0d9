"""What differs between two locks, package by package, as a person would tell it."""

from __future__ import annotations

from collections import defaultdict

from msgspec import Struct
from packaging.utils import NormalizedName

from pypm.model.lock import Lock
from pypm.model.project import IndexSource, PathSource, Source, UrlSource, VcsSource


class Change(Struct, frozen=True, kw_only=True):
    """One package whose pins differ."""

    name: NormalizedName
    before: tuple[str, ...]
    """Versions in the old lock, with their origins where those differ; empty when the package is new."""
    after: tuple[str, ...]
    """The same of the new lock; empty when the package is gone."""

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
    """Return the packages whose versions, commits or origins differ, sorted by name.

    Where a package comes from is said where it comes from more than one place, before or after.
    """
    old = _pins(before)
    new = _pins(after)
    changes = []
    for name in sorted(old.keys() | new.keys()):
        earlier, later = old.get(name, []), new.get(name, [])
        if earlier != later:
            several = len({origin for _, origin in (*earlier, *later)}) > 1
            changes.append(Change(name=name, before=_said(earlier, several), after=_said(later, several)))
    return tuple(changes)


_Pin = tuple[str, str]
"""A version, and where it comes from."""


def _pins(lock: Lock | None) -> dict[NormalizedName, list[_Pin]]:
    found: dict[NormalizedName, list[_Pin]] = defaultdict(list)
    for package in lock.packages if lock else ():
        version, source = package.version or "(from its source)", package.source
        if isinstance(source, VcsSource) and source.commit is not None:
            version += f" ({source.commit[:8]})"
        found[package.name].append((version, _origin(source)))
    return found


def _origin(source: Source) -> str:
    if isinstance(source, IndexSource):
        return f"from {source.index}"
    if isinstance(source, PathSource):
        return f"from {source.path}"
    if isinstance(source, UrlSource | VcsSource):
        from pypm.codec.simple import redact  # Reads pages too, and most locks name no address.

        return f"from {redact(source.url)}"
    return "from the workspace"


def _said(pins: list[_Pin], with_origin: bool) -> tuple[str, ...]:
    """Say pins; two that differ only in what nobody reads here, such as their markers, are said once."""
    return tuple(dict.fromkeys(f"{version} {origin}" if with_origin else version for version, origin in pins))

"""The locked graph as a tree: what each package needs, or, turned round, what needs it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from packaging.utils import NormalizedName, canonicalize_name

from pypm.errors import UsageError
from pypm.model.lock import Lock, LockedDependency, LockedPackage


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the tree."""

    depth: int
    name: NormalizedName
    version: str | None
    note: str
    """Markers, extras, or `(*)` where the package was told in full above."""


def tree(lock: Lock, *, depth: int | None = None) -> Iterator[Line]:
    """Yield the locked graph from the project's own dependencies downwards, depth first."""
    told: set[tuple[NormalizedName, str | None]] = set()
    packages = _by_name(lock)
    for dependency, heading in _roots(lock):
        yield from _below(dependency, heading, packages, told, limit=depth)


def reverse_tree(lock: Lock, name: str, *, depth: int | None = None) -> Iterator[Line]:
    """Yield `name` and below it, level by level, the packages that need it.

    Raises:
        UsageError: the lock has no such package.
    """
    wanted = canonicalize_name(name)
    packages = _by_name(lock)
    if wanted not in packages:
        raise UsageError(f"the lock has no package `{name}`", reference="unknown-package")
    parents: dict[NormalizedName, list[LockedPackage]] = defaultdict(list)
    for package in lock.packages:
        for child in {dependency.name for dependency in package.dependencies}:
            parents[child].append(package)
    told: set[NormalizedName] = set()
    pending = [(0, package) for package in reversed(packages[wanted])]
    while pending:
        level, package = pending.pop()
        again = package.name in told
        repeated = again and bool(parents[package.name])
        yield Line(depth=level, name=package.name, version=package.version, note="(*)" if repeated else "")
        told.add(package.name)
        if not again and (depth is None or level < depth):
            pending += [(level + 1, parent) for parent in reversed(parents[package.name])]


def _roots(lock: Lock) -> Iterator[tuple[LockedDependency, str]]:
    for dependency in lock.root_dependencies:
        yield dependency, ""
    for extra, dependencies in sorted(lock.extra_dependencies.items()):
        for dependency in dependencies:
            yield dependency, f"extra {extra}"
    for group, dependencies in sorted(lock.group_dependencies.items()):
        for dependency in dependencies:
            yield dependency, f"group {group}"


def _below(
    root: LockedDependency,
    heading: str,
    packages: dict[NormalizedName, list[LockedPackage]],
    told: set[tuple[NormalizedName, str | None]],
    *,
    limit: int | None,
) -> Iterator[Line]:
    pending = [(0, root, heading)]
    while pending:
        level, dependency, note = pending.pop()
        for package in _matching(dependency, packages):
            key = (package.name, package.version)
            again = key in told and bool(package.dependencies)
            notes = [note, _condition(dependency), "(*)" if again else ""]
            yield Line(
                depth=level,
                name=package.name,
                version=package.version,
                note="; ".join(part for part in notes if part),
            )
            told.add(key)
            if again or (limit is not None and level >= limit):
                continue
            pending += [
                (level + 1, child, f"extra {child.extra}" if child.extra else "")
                for child in reversed(package.dependencies)
            ]


def _matching(
    dependency: LockedDependency, packages: dict[NormalizedName, list[LockedPackage]]
) -> Iterable[LockedPackage]:
    found = packages.get(dependency.name, [])
    if dependency.version is None:
        return found
    return [package for package in found if package.version == dependency.version]


def _condition(dependency: LockedDependency) -> str:
    extras = f"[{','.join(dependency.extras)}]" if dependency.extras else ""
    return " ".join(part for part in (extras, str(dependency.marker) if dependency.marker else "") if part)


def _by_name(lock: Lock) -> dict[NormalizedName, list[LockedPackage]]:
    found: dict[NormalizedName, list[LockedPackage]] = defaultdict(list)
    for package in lock.packages:
        found[package.name].append(package)
    return found

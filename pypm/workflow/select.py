"""From the whole lock to what one interpreter needs: which packages, and of each the artifact that fits best.

Source: PEP 751 (installing from a lock), the platform compatibility tags specification (PEP 425, PEP 427).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from packaging.markers import Marker
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName

from pypm.codec.filenames import expand_tags
from pypm.errors import InterpreterError, LockError, UsageError
from pypm.model.artifact import LockedArtifact
from pypm.model.lock import Lock, LockedPackage
from pypm.model.plan import Pick, Selection
from pypm.model.project import IndexSource, ResolutionSettings
from pypm.model.target import Target


def select(
    lock: Lock, target: Target, selection: Selection, *, settings: ResolutionSettings | None = None
) -> tuple[Pick, ...]:
    """Return the packages that the selection needs on the target, each with its best artifact, by name.

    `settings` are the project's: what must not be built or must be, and which extras and groups conflict.
    That the lock has the selected names, `workflow.selection` has seen to.

    Raises:
        UsageError: two extras or groups that are declared as conflicting are asked for.
        InterpreterError: the lock, or a package that is needed, is not for this Python or platform.
        LockError: a needed package has no artifact for the target; `details` say for which there are some.
    """
    settings = settings or ResolutionSettings()
    _check_conflicts(selection, settings)
    conditions = _Conditions(target, selection)
    _check_target(lock, conditions)
    reached = None if selection.dependencies else _reached_from_groups(lock, selection, conditions)
    packages = [
        package
        for package in lock.packages
        if (reached is None or (package.name, package.version) in reached) and conditions.hold(package.marker)
    ]
    _check_unambiguous(packages)
    chooser = _Chooser(target, settings)
    picks = tuple(chooser.pick(package) for package in packages)
    for package in packages:
        conditions.require_python(package.requires_python, f"`{package.name}` {package.version}")
    chooser.raise_if_unserved()
    return tuple(sorted(picks, key=lambda pick: pick.package.name))


def _check_conflicts(selection: Selection, settings: ResolutionSettings) -> None:
    asked = {f"extra:{name}" for name in selection.extras} | {f"group:{name}" for name in selection.groups}
    for members in settings.conflicts:
        together = [member for member in members if member in asked]
        if len(together) > 1:
            said = " and ".join(
                f"{kind} `{name}`" for kind, _, name in (item.partition(":") for item in together)
            )
            raise UsageError(
                f"{said} are declared as conflicting and cannot be installed together",
                reference="conflicting-selection",
                hint="leave one of them out, for instance by `--no-extra` or `--no-group`",
            )


class _Conditions:
    """Markers and Python conditions, evaluated for one target and selection, each once."""

    def __init__(self, target: Target, selection: Selection) -> None:
        self.python = target.marker_environment["python_full_version"]
        self.environment: Mapping[str, str | frozenset[str]] = {
            **target.marker_environment,
            "extras": frozenset(selection.extras),
            "dependency_groups": frozenset(selection.groups),
        }
        # By identity: markers are compared by their text, which costs more to make than to evaluate. The lock
        # keeps them alive meanwhile, so that no identity is used twice.
        self.known: dict[int, bool] = {}

    def hold(self, marker: Marker | None) -> bool:
        if marker is None:
            return True
        if id(marker) not in self.known:
            self.known[id(marker)] = marker.evaluate(self.environment, context="lock_file")
        return self.known[id(marker)]

    def require_python(self, specifiers: SpecifierSet | None, what: str) -> None:
        if specifiers is None:
            return
        if id(specifiers) not in self.known:
            self.known[id(specifiers)] = specifiers.contains(self.python, prereleases=True)
        if not self.known[id(specifiers)]:
            raise InterpreterError(
                f"{what} is for Python `{specifiers}`, and the interpreter is {self.python}",
                reference="python-not-locked",
                hint="choose another interpreter with `--python`",
            )


def _check_target(lock: Lock, conditions: _Conditions) -> None:
    conditions.require_python(lock.requires_python, "the lock")
    if lock.environments and not any(conditions.hold(marker) for marker in lock.environments):
        raise InterpreterError(
            "the lock is not for this platform",
            reference="platform-not-locked",
            hint="add it to `environments` in `[tool.pypm]` and run `pypm lock`",
            details=tuple(f"it is for: {marker}" for marker in lock.environments),
        )


def _check_unambiguous(packages: Iterable[LockedPackage]) -> None:
    seen: dict[NormalizedName, LockedPackage] = {}
    for package in packages:
        other = seen.setdefault(package.name, package)
        if other is not package:
            raise LockError(
                f"the lock has two answers for `{package.name}` here: {other.version} and {package.version}",
                reference="lock-ambiguous",
                hint="make it anew with `pypm lock`",
            )


def _reached_from_groups(
    lock: Lock, selection: Selection, conditions: _Conditions
) -> set[tuple[NormalizedName, str | None]]:
    """Follow the edges from the selected groups alone, for `--only-group`.

    Package markers cannot say this: what the project itself needs has no condition on groups.
    """
    by_name: dict[NormalizedName, list[LockedPackage]] = {}
    for package in lock.packages:
        by_name.setdefault(package.name, []).append(package)
    pending = [edge for name in sorted(selection.groups) for edge in lock.group_dependencies.get(name, ())]
    reached: set[tuple[NormalizedName, str | None]] = set()
    followed: set[tuple[NormalizedName, str | None, tuple[NormalizedName, ...]]] = set()
    while pending:
        edge = pending.pop()
        key = (edge.name, edge.version, edge.extras)
        if key in followed or not conditions.hold(edge.marker):
            continue
        followed.add(key)
        for package in by_name.get(edge.name, ()):
            if edge.version in (None, package.version):
                reached.add((package.name, package.version))
                pending += [
                    dependency
                    for dependency in package.dependencies
                    if dependency.extra is None or dependency.extra in edge.extras
                ]
    return reached


class _Chooser:
    """Chooses artifacts for one target, and remembers the packages for which there is none."""

    def __init__(self, target: Target, settings: ResolutionSettings) -> None:
        self.rank = {tag: position for position, tag in enumerate(target.tags)}
        self.rank_of_tag_sets: dict[str, int | None] = {}
        self.settings = settings
        self.unserved: list[str] = []

    def pick(self, package: LockedPackage) -> Pick:
        if package.sdist is None and not package.wheels:
            if isinstance(package.source, IndexSource):
                self.unserved.append(f"`{package.name}` {package.version}: the lock has no file of it at all")
            return Pick(package=package, artifact=None)
        wheel = None if self._must_be_built(package.name) else self._best_wheel(package.wheels)
        artifact = wheel
        if artifact is None and not self._must_not_be_built(package.name):
            artifact = package.sdist
        if artifact is None:
            self.unserved.append(self._explain(package))
        return Pick(package=package, artifact=artifact)

    def _must_be_built(self, name: NormalizedName) -> bool:
        return self.settings.no_binary or name in self.settings.no_binary_package

    def _must_not_be_built(self, name: NormalizedName) -> bool:
        return self.settings.no_build or name in self.settings.no_build_package

    def _best_wheel(self, wheels: Iterable[LockedArtifact]) -> LockedArtifact | None:
        best: LockedArtifact | None = None
        best_key: tuple[int, int, str] | None = None
        for wheel in wheels:
            rank = self._rank(wheel.filename)
            if rank is None:
                continue
            number, suffix = _build_tag(wheel.filename)
            # The most specific tag first, then the highest build number (PEP 427).
            if best_key is None or (-rank, number, suffix) > best_key:
                best, best_key = wheel, (-rank, number, suffix)
        return best

    def _rank(self, filename: str) -> int | None:
        tags = "-".join(_tag_parts(filename))
        if tags not in self.rank_of_tag_sets:
            ranks = [self.rank[tag] for tag in expand_tags(tags) if tag in self.rank]
            self.rank_of_tag_sets[tags] = min(ranks, default=None)
        return self.rank_of_tag_sets[tags]

    def _explain(self, package: LockedPackage) -> str:
        what = f"`{package.name}` {package.version}"
        if self._must_be_built(package.name):
            return f"{what}: `no-binary` wants it built, and there is no sdist"
        places = sorted({_place(wheel.filename) for wheel in package.wheels})
        wheels = f"there are wheels for {', '.join(places)}" if places else "there are no wheels"
        if package.sdist is not None:
            return f"{what}: {wheels}; it has an sdist, but `no-build` forbids to build it"
        return f"{what}: {wheels}, and no sdist to build from"

    def raise_if_unserved(self) -> None:
        if self.unserved:
            count = "a package has" if len(self.unserved) == 1 else f"{len(self.unserved)} packages have"
            raise LockError(
                f"{count} no file for this interpreter and platform",
                reference="no-artifact",
                hint="choose another interpreter with `--python`, or limit the requirement by a marker",
                details=tuple(self.unserved),
            )


def _tag_parts(filename: str) -> list[str]:
    return filename.removesuffix(".whl").rsplit("-", 3)[1:]


def _place(filename: str) -> str:
    python, abi, platform = _tag_parts(filename)
    return f"`{python}-{abi}` on `{platform}`"


def _build_tag(filename: str) -> tuple[int, str]:
    if filename.count("-") < 5:
        return (-1, "")
    match = re.match(r"(\d+)(.*)", filename.split("-")[2])
    return (int(match[1]), match[2]) if match else (-1, "")

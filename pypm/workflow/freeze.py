"""From the resolver's answer to the lock's content; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache, lru_cache

from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName
from packaging.version import Version

from pypm.codec.filenames import parse_wheel_name
from pypm.model.artifact import IndexFile, LockedArtifact, Sha256
from pypm.model.lock import Lock, LockedDependency, LockedIndex, LockedPackage
from pypm.model.project import DEFAULT_INDEX_NAME, IndexSource, Project
from pypm.model.resolution import Edge, Pin, Resolution

PathHint = Callable[[Pin, IndexFile], "str | None"]
"""Where a file lies below its index's file base."""


def freeze(
    project: Project,
    resolution: Resolution,
    *,
    content_hash: Sha256,
    exclude_newer: str | None,
    path_hint: PathHint,
) -> Lock:
    """Return the lock that says what `resolution` found.

    Equal answers give equal locks: everything is sorted, and nothing of this machine or this moment goes in.
    """
    pins_by_name = Counter(pin.candidate.name for pin in resolution.pins)

    def locked(edges: Iterable[Edge]) -> tuple[LockedDependency, ...]:
        return tuple(sorted((_dependency(edge, pins_by_name) for edge in edges), key=_dependency_order))

    packages = [
        _package(pin, locked(pin.edges), project.requires_python, path_hint) for pin in resolution.pins
    ]
    return Lock(
        content_hash=content_hash,
        requires_python=project.requires_python,
        packages=tuple(sorted(packages, key=_package_order)),
        environments=project.settings.environments,
        forks=resolution.forks,
        extras=tuple(sorted(project.extras)),
        dependency_groups=tuple(sorted(project.groups)),
        default_groups=tuple(sorted(project.default_groups)),
        indexes=_indexes(project, packages),
        root_dependencies=locked(resolution.root_edges),
        extra_dependencies={name: locked(edges) for name, edges in sorted(resolution.extra_edges)},
        group_dependencies={name: locked(edges) for name, edges in sorted(resolution.group_edges)},
        strategy=project.settings.strategy,
        prerelease=project.settings.prerelease,
        exclude_newer=exclude_newer,
    )


def _package(
    pin: Pin, dependencies: tuple[LockedDependency, ...], requires_python: SpecifierSet, path_hint: PathHint
) -> LockedPackage:
    candidate = pin.candidate

    def artifact(file: IndexFile) -> LockedArtifact:
        return LockedArtifact(
            filename=file.filename,
            sha256=file.sha256,
            size_bytes=file.size_bytes,
            path=path_hint(pin, file),
            upload_time=file.upload_time,
        )

    wheels = [file for file in candidate.wheels if can_serve(file.filename, requires_python)]
    return LockedPackage(
        name=candidate.name,
        version=str(candidate.version),
        source=candidate.source,
        marker=pin.marker,
        requires_python=pin.metadata.requires_python,
        dependencies=dependencies,
        sdist=artifact(_best_sdist(candidate.sdists)) if candidate.sdists else None,
        wheels=tuple(artifact(file) for file in sorted(wheels, key=lambda file: file.filename)),
        yanked=candidate.yanked,
    )


def _package_order(package: LockedPackage) -> tuple[str, Version, str]:
    return (package.name, Version(package.version or "0"), str(package.source))


def _best_sdist(sdists: tuple[IndexFile, ...]) -> IndexFile:
    """PEP 625 has one `.tar.gz` a version; older releases may offer other archives beside it."""
    return min(sdists, key=lambda file: (not file.filename.endswith(".tar.gz"), file.filename))


def can_serve(filename: str, requires_python: SpecifierSet) -> bool:
    """Whether a wheel is for any Python that the project admits; wheels for others only make the lock longer.

    Source: the platform compatibility tags specification (PEP 425).
    """
    name = parse_wheel_name(filename)
    if name is None:
        return False
    pythons, abis, _ = filename.removesuffix(".whl").split("-")[-3:]
    return _serving(str(requires_python))(pythons, abis)


@lru_cache(maxsize=8)
def _serving(requires_python: str) -> Callable[[str, str], bool]:
    """Return what judges Python tags and ABI tags; of thousands of wheels in a lock, few differ in them."""
    admitted = SpecifierSet(requires_python)

    @cache
    def serves(pythons: str, abis: str) -> bool:
        return any(
            _python_fits(python, abi, admitted) for python in pythons.split(".") for abi in abis.split(".")
        )

    return serves


def _python_fits(interpreter: str, abi: str, requires_python: SpecifierSet) -> bool:
    kind = interpreter.rstrip("0123456789_")
    digits = interpreter[len(kind) :].replace("_", "")
    if not digits:
        return True
    major, minor = digits[:1], digits[1:]
    if not minor:
        version = f">={major},<{int(major) + 1}"
    elif kind == "cp" and abi not in ("abi3", "none"):
        version = f"=={major}.{minor}.*"
    elif kind in ("cp", "py"):
        version = f">={major}.{minor},<{int(major) + 1}"
    else:
        version = f"=={major}.{minor}.*"
    return not (requires_python & SpecifierSet(version)).is_unsatisfiable()


def _dependency(edge: Edge, pins_by_name: Counter[NormalizedName]) -> LockedDependency:
    return LockedDependency(
        name=edge.name,
        version=edge.version if pins_by_name[edge.name] > 1 else None,
        marker=edge.marker,
        extras=tuple(sorted(edge.extras)),
        extra=edge.extra,
    )


def _dependency_order(dependency: LockedDependency) -> tuple[str, ...]:
    return (
        dependency.name,
        dependency.version or "",
        dependency.extra or "",
        ",".join(dependency.extras),
        str(dependency.marker or ""),
    )


def _indexes(project: Project, packages: Iterable[LockedPackage]) -> tuple[LockedIndex, ...]:
    """Name the indexes that serve a locked package, in the project's order; the default one by name alone."""
    used = {package.source.index for package in packages if isinstance(package.source, IndexSource)}
    return tuple(
        LockedIndex(name=index.name, url=None if index.name == DEFAULT_INDEX_NAME else index.url)
        for index in project.indexes
        if index.name in used
    )

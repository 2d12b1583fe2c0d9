"""Where the resolver's answers come from, and what its answer lacks before it can be locked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace
from packaging.markers import Marker
from packaging.utils import NormalizedName, canonicalize_name

from pypm.index.archives import Archives
from pypm.index.cache import IndexCache
from pypm.index.locate import path_hint as hint_of_address
from pypm.index.metadata import BuildMetadata
from pypm.index.provider import IndexProvider, ProviderSettings
from pypm.index.sizes import fill_sizes
from pypm.model.artifact import IndexFile
from pypm.model.lock import Lock
from pypm.model.project import IndexSource, Project, VcsSource
from pypm.model.resolution import Pin, Resolution
from pypm.workflow.context import Context
from pypm.workflow.dates import absolute, end_of
from pypm.workflow.freeze import can_serve

_PYTHON_MINORS = range(8, 20)
"""Pythons that a marker is tried with when only its platform matters."""


def open_provider(
    context: Context,
    project: Project,
    build_metadata: BuildMetadata | None,
    *,
    refresh: bool = False,
    locked_commits: Mapping[VcsSource, str] | None = None,
) -> IndexProvider:
    """Return the provider that answers for `project`, whose date limit is absolute."""
    settings = project.settings
    return IndexProvider(
        context.client,
        context.indexes,
        ProviderSettings(
            root=context.root,
            outside=context.own_folder,
            exclude_newer=None if settings.exclude_newer is None else end_of(settings.exclude_newer),
            exclude_newer_package={
                name: None if limit is None else end_of(absolute(limit))
                for name, limit in settings.exclude_newer_package.items()
            },
            no_build=settings.no_build,
            no_build_package=frozenset(settings.no_build_package),
            no_binary=settings.no_binary,
            no_binary_package=frozenset(settings.no_binary_package),
            placed=_placed(project),
            locked_commits=locked_commits or {},
        ),
        context.cache,
        IndexCache(context.answers, refresh=refresh, warn=context.reporter.warn),
        build_metadata=build_metadata,
        hooks=context.stages,
    )


def _placed(project: Project) -> frozenset[NormalizedName]:
    """Return the packages of which the project itself says where they come from, or that none are wanted."""
    settings = project.settings
    written = (project.dependencies, *project.extras.values(), *project.groups.values(), settings.overrides)
    direct = {canonicalize_name(one.name) for batch in written for one in batch if one.url}
    return frozenset({project.name, *project.sources, *settings.exclusions, *direct})


def path_hint(pin: Pin, file: IndexFile) -> str | None:
    """Return where a file of an index lies below the index's file base."""
    return hint_of_address(file.url) if isinstance(pin.candidate.source, IndexSource) else None


def completed(
    context: Context,
    project: Project,
    resolution: Resolution,
    before: Lock | None,
    *,
    every_size: bool,
) -> Resolution:
    """Fill in hashes that an index does not tell, and sizes where the lock wants them.

    A hash is always needed: the one that was locked before stays, else the file is downloaded. Sizes are
    asked for where the index leaves them out: of the artifacts that the project's `environments` can use, or
    of all with `every_size`.
    """
    environments = project.settings.environments
    used = [
        file
        for pin in resolution.pins
        for file in (*pin.candidate.wheels, *pin.candidate.sdists)
        if not file.filename.endswith(".whl") or can_serve(file.filename, project.requires_python)
    ]
    filled = {file.url: file for file in _hashed(context, used, before)}
    unsized = [
        file
        for file in (filled.get(one.url, one) for one in used)
        if file.size_bytes is None and (every_size or is_for(file.filename, environments))
    ]
    filled |= {file.url: file for file in (fill_sizes(context.client, unsized) if unsized else ())}
    if not filled:
        return resolution
    return replace(resolution, pins=tuple(_with_files(filled, pin) for pin in resolution.pins))


def _hashed(context: Context, files: Iterable[IndexFile], before: Lock | None) -> Iterator[IndexFile]:
    """Yield the files without a hash, with one."""
    known = {
        artifact.filename: artifact
        for package in (before.packages if before else ())
        for artifact in (*package.wheels, package.sdist)
        if artifact is not None and artifact.sha256 is not None
    }
    archives = Archives(context.client, IndexCache(context.answers), context.cache.wheels, context.stages)
    for file in files:
        if file.sha256 is None and (earlier := known.get(file.filename)):
            yield replace(file, sha256=earlier.sha256, size_bytes=earlier.size_bytes)
        elif file.sha256 is None:
            context.reporter.detail(f"The index gives no hash of `{file.filename}`: downloading it")
            yield archives.hashed(file)


def _with_files(filled: Mapping[str, IndexFile], pin: Pin) -> Pin:
    candidate = replace(
        pin.candidate,
        wheels=tuple(filled.get(file.url, file) for file in pin.candidate.wheels),
        sdists=tuple(filled.get(file.url, file) for file in pin.candidate.sdists),
    )
    return replace(pin, candidate=candidate)


def is_for(filename: str, environments: Iterable[Marker]) -> bool:
    """Whether an artifact can be of use in one of the environments, judged by its platform tag."""
    platform = "any" if not filename.endswith(".whl") else filename[:-4].rpartition("-")[2]
    return any(
        marker.evaluate({**variables, "python_version": f"3.{minor}", "python_full_version": f"3.{minor}.0"})
        for marker in environments
        for variables in map(_variables_of, platform.split("."))
        for minor in _PYTHON_MINORS
    )


def _variables_of(platform: str) -> dict[str, str]:
    """What markers say on the platform of a wheel's tag; a pure wheel is told as Linux, where each serves."""
    machine = "aarch64" if platform.endswith("aarch64") else "x86_64"
    if platform.startswith("win"):
        machine = {"win32": "x86", "win_amd64": "AMD64", "win_arm64": "ARM64"}.get(platform, "AMD64")
        return _names("win32", "nt", "Windows", machine)
    if platform.startswith("macosx"):
        return _names("darwin", "posix", "Darwin", "arm64" if platform.endswith("arm64") else "x86_64")
    for known in ("i686", "armv7l", "ppc64le", "s390x", "riscv64"):
        machine = known if platform.endswith(known) else machine
    return _names("linux", "posix", "Linux", machine)


def _names(sys_platform: str, os_name: str, platform_system: str, machine: str) -> dict[str, str]:
    return {
        "sys_platform": sys_platform,
        "os_name": os_name,
        "platform_system": platform_system,
        "platform_machine": machine,
    }

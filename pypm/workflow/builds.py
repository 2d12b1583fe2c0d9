"""Builds what the lock names and no index has as a wheel: sdists, path dependencies, the project itself.

Each build gets its requirements as an environment of its own, resolved for this interpreter, fetched and
verified like any other. Which wheels those were is remembered beside the result, so a second sync neither
resolves nor builds: a build is done again only when its source or its requirements change.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, parse_wheel_filename

from pypm.build.project import editable_key, project_tree, sdist_key, tree_key, tree_place
from pypm.build.tree import SourceTree
from pypm.digest import content_digest, sha256_file
from pypm.environment.overlay import describe
from pypm.errors import BuildError, LockError, ResolutionError
from pypm.files import remove_tree, storage_errors, write_atomically
from pypm.isolation import BUILD_ENVIRONMENT, RunOptions
from pypm.model.artifact import Sha256
from pypm.model.candidate import Candidate
from pypm.model.environment import Environment
from pypm.model.plan import Pick
from pypm.model.project import BuildSystem, PathSource, VcsSource
from pypm.model.wheel import StoredWheel
from pypm.regular import read_regular
from pypm.store.adoption import Expected
from pypm.workflow.grants import require_writable
from pypm.workflow.stages import Package, Stage, built_package, picked_package
from pypm.workflow.supply import Supply, required_hash
from pypm.workflow.written import written

if TYPE_CHECKING:
    from pypm.build.frontend import Workbench
    from pypm.workflow.vouched import Vouching

_RECORD = "built.json"
"""Beside a built wheel: its file name and hash."""

Resolve = Callable[[Sequence[Requirement]], Sequence[Pick]]
"""Requirements to picks for this interpreter; `workflow.lock` answers it, for resolving is its work."""


class Builder:
    """Builds wheels in the sandbox and puts them into the store."""

    def __init__(self, supply: Supply, resolve: Resolve, *, options: Callable[[], RunOptions]) -> None:
        """`options` gives the project's `build` profile, or refuses it, when something is to be built."""
        self._supply = supply
        self._resolve = resolve
        self._options = options
        self._building: list[str] = []
        self.archives: dict[Sha256, Path] = {}
        """Where the wheels lie that were built, now or earlier, by their hash."""

    # What was built before ----------------------------------------------------------------------------

    def find(self, pick: Pick) -> StoredWheel | None:
        """Return the wheel that an earlier run built from the same source and requirements, or None."""
        if pick.artifact is None:
            if isinstance(pick.package.source, VcsSource):
                # The commit says it all, so nothing needs to be there to look.
                identity = _commit_identity(pick.package.source)
                return self._known(identity, pick)
            source = self._tree_of(pick)
            editable = _is_editable(pick)
            environment = self._remembered(_tree_identity(source))
            if environment is None:
                return None
            return self._built(_key_of_tree(source, environment, editable=editable))
        return self._known(required_hash(pick.artifact), pick)

    def _known(self, identity: Sha256, pick: Pick) -> StoredWheel | None:
        """Return the wheel of an sdist or commit that was built here, or taken from who built it."""
        environment = self._remembered(identity)
        if environment is None:
            return None
        built = self._built(sdist_key(identity, environment))
        if built is not None:
            return built
        subject = picked_package(self._supply.context.cache, pick)
        found = self._vouching.find(self._vouching.circumstances(identity, environment, subject))
        return None if found is None else self._noted(*found)

    def find_project(self) -> StoredWheel | None:
        """Return the project's own editable wheel, if nothing that matters to it changed."""
        source = self._project_tree()
        environment = self._remembered(_tree_identity(source))
        return None if environment is None else self._built(editable_key(source, environment))

    # Building -----------------------------------------------------------------------------------------

    def build(self, pick: Pick) -> StoredWheel:
        """Build a pick's wheel and return it from the store.

        Raises:
            BuildError: it cannot be built; `details` hold the end of the log.
            IntegrityError: the sdist, or what the backend made of it, is not what the lock says.
            ConsentError: its compiled modules would be written outside of the project.
        """
        subject = picked_package(self._supply.context.cache, pick)
        if isinstance(pick.package.source, VcsSource):
            commit = pick.package.source
            source, identity = self._commit_tree(pick.package.name, commit), _commit_identity(commit)
            environment = self._requirements(source, identity)
            return self._made(source, environment, identity, subject)
        if pick.artifact is None:
            source, editable = self._tree_of(pick), _is_editable(pick)
            environment = self._requirements(source, _tree_identity(source), editable=editable)
            key = _key_of_tree(source, environment, editable=editable)
            return self._built(key) or self._make(source, environment, key, subject, editable=editable)
        sha256 = required_hash(pick.artifact)
        archive = self._supply.fetch_source(pick)
        with self._unpacked(archive) as source:
            environment = self._requirements(source, sha256)
            return self._made(source, environment, sha256, subject)

    def _made(
        self, source: SourceTree, environment: Environment, identity: Sha256, subject: Package
    ) -> StoredWheel:
        """Return the wheel of an sdist or commit: built before, taken from who built it, or built now."""
        key = sdist_key(identity, environment)
        built = self._built(key)
        if built is not None:
            return built
        stages = self._supply.context.stages
        circumstances = self._vouching.circumstances(identity, environment, subject)
        taken = self._vouching.find(circumstances) or self._vouching.take(subject, circumstances)
        if taken is not None:
            stages.built(built_package(*taken))
            return self._noted(*taken)
        stored, wheel = self._compile(source, environment, key, subject)
        package = built_package(stored, wheel)
        signed = self._vouching.sign(stored, wheel, circumstances)
        if signed is not None:
            package = replace(package, build_key=circumstances.key, build_record=str(signed))
        stages.built(package)
        return stored

    def _noted(self, stored: StoredWheel, archive: Path) -> StoredWheel:
        self.archives[stored.sha256] = archive
        return stored

    @cached_property
    def _vouching(self) -> Vouching:
        """What knows of builds elsewhere."""
        from pypm.workflow.vouched import Vouching

        return Vouching(self._supply, self._options)

    def build_project(self) -> StoredWheel:
        """Build the project's own editable wheel (PEP 660) and return it from the store."""
        project = self._supply.context.project
        source = self._project_tree()
        environment = self._requirements(source, _tree_identity(source), editable=True)
        key = editable_key(source, environment)
        subject = Package(name=project.name, version=project.version)
        return self._built(key) or self._make(source, environment, key, subject, editable=True)

    def metadata(self, candidate: Candidate, place: Path) -> bytes:
        """Return the core metadata of a folder or sdist. Implements `index.metadata.BuildMetadata`."""
        from pypm.build.frontend import build_metadata

        package = _package_of_source(candidate, place)
        subject = f"{package.name} {package.version or ''}".strip()
        self._supply.context.stages.pre_metadata(package)
        with self._source(place, subject) as source:
            identity = _tree_identity(source) if package.sha256 is None else Sha256(package.sha256)
            environment = self._requirements(source, identity)
            with self._supply.context.reporter.task("Preparing", subject, unit="lines") as task:
                return build_metadata(source, self._workbench(environment, task.say))

    def _make(
        self,
        source: SourceTree,
        environment: Environment,
        key: Sha256,
        subject: Package,
        *,
        editable: bool = False,
    ) -> StoredWheel:
        stages = self._supply.context.stages
        stages.call(Stage.PRE_BUILD, [subject])
        stored, wheel = self._compile(source, environment, key, subject, editable=editable)
        stages.built(built_package(stored, wheel))
        return stored

    def _compile(
        self,
        source: SourceTree,
        environment: Environment,
        key: Sha256,
        subject: Package,
        *,
        editable: bool = False,
    ) -> tuple[StoredWheel, Path]:
        from pypm.build.frontend import build_wheel

        folder = self._folder(key)
        with self._supply.context.reporter.task("Building", source.name, unit="lines") as task:
            wheel = build_wheel(source, self._workbench(environment, task.say), folder, editable=editable)
        sha256 = sha256_file(wheel)
        record = {"filename": wheel.name, "sha256": sha256}
        write_atomically(folder / _RECORD, json.dumps(record).encode("ascii"))
        return self._adopt(wheel, Sha256(sha256), (subject.name, subject.version)), wheel

    def _adopt(self, wheel: Path, sha256: Sha256, expected: tuple[str | None, str | None]) -> StoredWheel:
        name, version = expected
        self.archives[sha256] = wheel
        own_name, own_version, _, _ = parse_wheel_filename(wheel.name)
        return self._supply.add(
            wheel,
            Expected(
                name=own_name if name is None else NormalizedName(name),
                version=version or str(own_version),
                sha256=sha256,
            ),
        )

    def _built(self, key: Sha256) -> StoredWheel | None:
        folder = self._folder(key)
        try:
            record = json.loads(read_regular(folder / _RECORD))
            filename, sha256 = str(record["filename"]), Sha256(str(record["sha256"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        stored = self._supply.store.find(sha256, self._supply.context.interpreter.cache_tag)
        if stored is None and (folder / filename).is_file() and sha256_file(folder / filename) == sha256:
            return self._adopt(folder / filename, sha256, (None, None))
        if stored is not None:
            self.archives[sha256] = folder / filename
        return stored

    def _folder(self, key: Sha256) -> Path:
        return self._supply.context.cache.builds / key[:2] / key

    # Sources ------------------------------------------------------------------------------------------

    def _project_tree(self) -> SourceTree:
        context = self._supply.context
        return project_tree(context.root, name=context.project.name, editable=True)

    def _tree_of(self, pick: Pick) -> SourceTree:
        source = pick.package.source
        if not isinstance(source, PathSource):
            raise LockError(
                f"the lock has no file and no folder of `{pick.package.name}`",
                reference="lock-invalid",
                hint="make it anew with `pypm lock`",
            )
        root = tree_place(self._supply.context.root, source.path)
        return project_tree(root, name=pick.package.name, editable=source.editable)

    def _commit_tree(self, name: NormalizedName, source: VcsSource) -> SourceTree:
        from pypm.index.git import Repositories

        context = self._supply.context
        repositories = Repositories(
            context.cache.repositories, offline=context.settings.offline, outside=context.own_folder
        )
        return project_tree(repositories.tree(source), name=name, editable=False)

    @contextmanager
    def _source(self, place: Path, subject: str) -> Iterator[SourceTree]:
        if place.is_dir():
            tree = tree_place(self._supply.context.root, str(place))
            yield project_tree(tree, name=subject, editable=False)
        else:
            with self._unpacked(place) as source:
                yield source

    @contextmanager
    def _unpacked(self, archive: Path) -> Iterator[SourceTree]:
        from pypm.build.sdist import Unpacking, unpack_sdist

        context = self._supply.context
        staging = context.cache.scratch / f"sdist-{secrets.token_hex(8)}"
        with storage_errors(f"make `{staging.parent}`"):
            staging.parent.mkdir(parents=True, exist_ok=True)
        try:
            unpacking = Unpacking(
                interpreter=context.interpreter, home=context.home, isolation=context.own_isolation
            )
            yield unpack_sdist(archive, staging, unpacking)
        finally:
            remove_tree(staging)

    # Build requirements -------------------------------------------------------------------------------

    def _requirements(self, source: SourceTree, identity: Sha256, *, editable: bool = False) -> Environment:
        """Return the environment to build in: remembered, or resolved and fetched now."""
        remembered = self._remembered(identity)
        if remembered is not None:
            return remembered
        if source.name in self._building:
            cycle = " -> ".join((*self._building, source.name))
            raise BuildError(
                f"`{source.name}` needs itself to be built: {cycle}",
                reference="build-cycle",
                hint="one of these packages must be had as a wheel",
            )
        self._building.append(source.name)
        try:
            environment = self._environment(source.system.requires)
            more = self._more_requirements(source, environment, editable=editable)
            if more:
                environment = self._environment((*source.system.requires, *more))
        except ResolutionError as error:
            raise BuildError(
                f"`{source.name}` has to be built, and what its build requires cannot be had",
                reference="build-requirements-unsatisfiable",
                hint=error.hint,
                details=error.details,
            ) from None
        finally:
            self._building.pop()
        self._remember(identity, environment)
        return environment

    def _more_requirements(
        self, source: SourceTree, environment: Environment, *, editable: bool
    ) -> tuple[Requirement, ...]:
        from pypm.build.frontend import build_requires

        kind = "editable" if editable else "wheel"
        return build_requires(source, self._workbench(environment, lambda _: None), kind=kind)

    def _environment(self, requirements: Sequence[Requirement]) -> Environment:
        picks = self._resolve(requirements)
        plan = self._supply.plan(picks, self.find)
        wheels = [wheel for _, wheel in plan.reuse]
        wheels += self._supply.fetch(plan.fetch)
        wheels += [self.build(pick) for pick in plan.build]
        return self._described(wheels)

    def _described(self, wheels: Sequence[StoredWheel]) -> Environment:
        context = self._supply.context
        return describe(context.interpreter, wheels, BUILD_ENVIRONMENT, cache=context.cache.root)

    def _memory(self, identity: Sha256) -> Path:
        """Where it is kept: another project, with other indexes, answers the same question for itself."""
        interpreter, project = self._supply.context.interpreter, self._supply.context.project
        settings, signers = project.settings, self._vouching.signers_digest
        answered_by = repr((
            self._supply.context.indexes, sorted(project.sources.items()), settings.exclude_newer,
            settings.prerelease, settings.no_build, settings.no_build_package, settings.no_binary,
            settings.no_binary_package, signers,
        ))  # fmt: skip
        name = content_digest([2, identity, interpreter.identity, interpreter.platform, answered_by])
        return self._supply.context.cache.builds / "requirements" / f"{name}.json"

    def _remembered(self, identity: Sha256) -> Environment | None:
        try:
            hashes = json.loads(read_regular(self._memory(identity)))
            found = self._supply.store.find_many(hashes, self._supply.context.interpreter.cache_tag)
        except (OSError, ValueError, TypeError):
            return None
        return self._described(list(found.values())) if len(found) == len(hashes) else None

    def _remember(self, identity: Sha256, environment: Environment) -> None:
        path = self._memory(identity)
        with storage_errors(f"write `{path}`"):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps([wheel.sha256 for wheel in environment.wheels]).encode("ascii"))

    def _workbench(self, environment: Environment, on_line: Callable[[str], None]) -> Workbench:
        import os

        from pypm.build.frontend import Workbench

        context, options = self._supply.context, self._options()
        return Workbench(
            environment=written(environment, context.cache) if options.in_place else environment,
            scratch=context.cache.scratch,
            home=context.home,
            project=context.root,
            options=options,
            variables=os.environ,
            on_line=on_line,
            may_write=partial(require_writable, context),
        )


def _is_editable(pick: Pick) -> bool:
    return isinstance(pick.package.source, PathSource) and pick.package.source.editable


def _package_of_source(candidate: Candidate, place: Path) -> Package:
    """Return what plugins are told of a folder or an sdist that tells its metadata by a build."""
    from pypm.index.direct import UNKNOWN_VERSION

    if place.is_dir():
        is_known = candidate.version != UNKNOWN_VERSION
        return Package(name=candidate.name, version=str(candidate.version) if is_known else None)
    return Package(
        name=candidate.name,
        version=str(candidate.version),
        artifact=place.name,
        sha256=sha256_file(place),
        path=str(place),
        size_bytes=place.stat().st_size,
    )


def _key_of_tree(source: SourceTree, environment: Environment, *, editable: bool) -> Sha256:
    return editable_key(source, environment) if editable else tree_key(source, environment)


def _commit_identity(source: VcsSource) -> Sha256:
    """What stands for the files of a commit, as the hash of an sdist does for its own."""
    assert source.commit is not None
    return content_digest({"git": source.url, "commit": source.commit, "below": source.subdirectory})


def _tree_identity(source: SourceTree) -> Sha256:
    """What a working tree's build requirements depend on."""
    system: BuildSystem = source.system
    return content_digest(
        {
            "place": str(source.root),
            "requires": sorted(str(requirement) for requirement in system.requires),
            "backend": system.backend,
            "path": list(system.backend_path),
        }
    )

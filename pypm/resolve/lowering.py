"""From requirements as they are written to dependencies that the solver can use.

Here overrides replace, exclusions drop, constraints join, sources part, and the markers become nodes, so
that the solver knows none of these words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter

from msgspec import Struct
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name

from pypm.model.candidate import CandidateMetadata
from pypm.model.project import PathSource, Source, UrlSource, VcsSource
from pypm.resolve.diagram import FALSE, TRUE
from pypm.resolve.inputs import Inputs
from pypm.resolve.markers import EXTRAS_RANK, GROUPS_RANK, Markers


class Dependency(Struct, frozen=True, eq=False):
    """One requirement, ready to be solved. Equal ones are one object, so they compare and hash by
    identity."""

    name: NormalizedName
    specifier: SpecifierSet
    guard: int
    """Where it holds, as a node; extras of the parent are already decided."""
    extras: tuple[NormalizedName, ...] = ()
    source: Source | None = None
    is_constraint: bool = False
    """It narrows what another requirement asks for, and asks for nothing itself."""
    order: tuple[object, ...] = ()
    """Sorts dependencies by name, then by what is asked for: in this order packages are first met."""

    @property
    def text(self) -> str:
        """The requirement as a user would write it, without its marker."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        specifiers = ",".join(sorted((str(part) for part in self.specifier), key=_bounds_in_order))
        return f"{self.name}{extras}{specifiers}"


def _bounds_in_order(specifier: str) -> tuple[int, str]:
    return {">": 0, "~": 0, "=": 0, "<": 1, "!": 2}.get(specifier[0], 3), specifier


class RootBatch(Struct, frozen=True):
    """The project's own dependencies, or those of one of its extras or groups."""

    kind: str
    """"project", "extra" or "group"."""
    name: NormalizedName
    guard: int
    """When the batch is asked for: `'x' in extras`."""
    dependencies: tuple[Dependency, ...]


class UnlistedUrlError(Exception):
    """A package requires another one by URL, and the project does not name that URL itself."""

    def __init__(self, name: NormalizedName, url: str) -> None:
        super().__init__(f"requires `{name}` from `{url}`")
        self.name = name
        self.url = url


class Lowering:
    """Lowers the requirements of the project and of every package that the solver looks at."""

    def __init__(self, inputs: Inputs, markers: Markers) -> None:
        self._inputs = inputs
        self._markers = markers
        self._interned: dict[object, Dependency] = {}
        self._known: dict[tuple[int, NormalizedName | None], tuple[Requirement, tuple[Dependency, ...]]] = {}
        """By the identity of a requirement of a package, and the extra that is asked for."""
        self._exclusions = frozenset(inputs.settings.exclusions)
        self._overrides = _by_name(inputs.settings.overrides)
        self._constraints = _by_name(inputs.settings.constraints)
        self._sources = {name: tuple(sources) for name, sources in inputs.sources.items()}
        for requirement in self._written():
            if requirement.url:
                name = canonicalize_name(requirement.name)
                source = url_source(requirement)
                known = self._sources.get(name, ())
                if name not in inputs.sources and source not in known:
                    self._sources[name] = (*known, source)

    def _written(self) -> Iterator[Requirement]:
        yield from self._inputs.dependencies
        for batches in (self._inputs.extras, self._inputs.groups):
            for name in sorted(batches):
                yield from batches[name]
        yield from self._inputs.settings.overrides

    def direct_names(self) -> dict[NormalizedName, list[Requirement]]:
        """Return the requirements that the user wrote, by name: the project's and the settings'."""
        return _by_name((*self._written(), *self._inputs.settings.constraints))

    def root_batches(self) -> tuple[RootBatch, ...]:
        """Return the project's requirements, then those of its extras and groups by name."""
        project = self._inputs.project
        diagram = self._markers.diagram
        batches = [RootBatch("project", project, TRUE, self._batch(self._inputs.dependencies))]
        for kind, rank, table in (
            ("extra", EXTRAS_RANK, self._inputs.extras),
            ("group", GROUPS_RANK, self._inputs.groups),
        ):
            for name in sorted(table):
                guard = diagram.switch((rank, name))
                batches.append(RootBatch(kind, name, guard, self._batch(table[name])))
        return tuple(batches)

    def _batch(self, requirements: Iterable[Requirement]) -> tuple[Dependency, ...]:
        lowered: list[Dependency] = []
        for requirement, guard in self._expanded(requirements, TRUE, frozenset()):
            lowered += self._lower(requirement, guard, overridable=guard)
        return _in_order(lowered)

    def _expanded(
        self, requirements: Iterable[Requirement], outer: int, seen: frozenset[str]
    ) -> Iterator[tuple[Requirement, int]]:
        """Replace `project[extra]` by what the extra holds: an extra may be made of others."""
        # A file lists requirements in any order, and none of them may decide anything.
        for requirement in sorted(requirements, key=str):
            guard = self._markers.diagram.conjoin(outer, self._markers.parse(requirement.marker))
            if canonicalize_name(requirement.name) != self._inputs.project:
                yield requirement, guard
                continue
            for extra in sorted(canonicalize_name(extra) for extra in requirement.extras):
                if extra not in seen:
                    yield from self._expanded(self._inputs.extras.get(extra, ()), guard, seen | {extra})

    def of_package(self, metadata: CandidateMetadata, extra: NormalizedName | None) -> tuple[Dependency, ...]:
        """Return what a version requires, or what one of its extras adds to that.

        Raises:
            UnlistedUrlError: a requirement names a URL that the project itself does not.
        """
        lowered: list[Dependency] = []
        known = self._known
        for requirement in metadata.requires_dist:
            key = (id(requirement), extra)
            found = known.get(key)
            if found is None:
                # The requirement is kept beside the answer, so that nothing else ever has its identity.
                found = known[key] = (requirement, tuple(self._required(requirement, extra)))
            lowered += found[1]
        return _in_order(lowered)

    def _required(self, requirement: Requirement, extra: NormalizedName | None) -> Iterator[Dependency]:
        """Lower one requirement of a package; most versions of it have the same object for the same text."""
        markers = self._markers
        name = canonicalize_name(requirement.name)
        if name == self._inputs.project or name in self._exclusions:
            return
        written = markers.parse(requirement.marker)
        guard = markers.without_extras(written)
        if extra is not None:
            if guard == written:
                return  # No extra has a say in it.
            base, guard = guard, markers.with_extra(written, extra)
            if markers.diagram.implies(guard, base):
                return  # The package itself already requires it.
        if guard == FALSE:
            return
        if requirement.url and url_source(requirement) not in map(_bare, self._sources.get(name, ())):
            raise UnlistedUrlError(name, requirement.url)
        yield from self._lower(requirement, guard, overridable=TRUE)

    def _lower(self, requirement: Requirement, guard: int, *, overridable: int) -> Iterator[Dependency]:
        name = canonicalize_name(requirement.name)
        if name in self._exclusions:
            return
        diagram = self._markers.diagram
        written = [(requirement, guard)]
        if name in self._overrides:
            outer = overridable if requirement.marker is None else TRUE
            written = [
                (override, diagram.conjoin(outer, self._markers.parse(override.marker)))
                for override in self._overrides[name]
            ]
        for chosen, where in written:
            extras = tuple(sorted({canonicalize_name(extra) for extra in chosen.extras}))
            for source, part in self._sourced(name, where):
                yield self._dependency(name, chosen.specifier, part, extras, source)
                for constraint in self._constraints.get(name, ()):
                    both = diagram.conjoin(part, self._markers.parse(constraint.marker))
                    if both != FALSE:
                        yield self._dependency(name, constraint.specifier, both, None, source)

    def _dependency(
        self,
        name: NormalizedName,
        specifier: SpecifierSet,
        guard: int,
        extras: tuple[NormalizedName, ...] | None,
        source: Source | None,
    ) -> Dependency:
        """Return the one object for a dependency; without extras at all it is a constraint."""
        key = (name, str(specifier), guard, extras, source)
        found = self._interned.get(key)
        if found is None:
            order = (name, extras is None, str(specifier), extras or ())
            found = self._interned[key] = Dependency(
                name, specifier, guard, extras or (), source, extras is None, order
            )
        return found

    def _sourced(self, name: NormalizedName, guard: int) -> Iterator[tuple[Source | None, int]]:
        """Part a requirement by the markers of the package's sources; what none covers has no source."""
        diagram = self._markers.diagram
        rest = guard
        for source in self._sources.get(name, ()):
            part = diagram.conjoin(rest, self._markers.parse(source.marker))
            rest = diagram.difference(rest, part)
            if part != FALSE:
                yield source, part
        if rest != FALSE:
            yield None, rest


def url_source(requirement: Requirement) -> Source:
    """Return the source that `name @ URL` means (PEP 440, direct references)."""
    url = requirement.url or ""
    address, _, fragment = url.partition("#")
    options = dict(part.partition("=")[::2] for part in fragment.split("&") if part)
    subdirectory = options.get("subdirectory")
    if address.startswith("git+"):
        base, at, revision = address[4:].rpartition("@")
        if not at or "/" in revision or "://" not in base:
            base, revision = address[4:], ""
        return VcsSource(kind="git", url=base, revision=revision or None, subdirectory=subdirectory)
    if address.startswith("file:"):
        return PathSource(path=address.removeprefix("file://").removeprefix("file:"))
    return UrlSource(url=address, subdirectory=subdirectory)


def _bare(source: Source) -> Source:
    """Return the source without its marker, as a direct reference would say it."""
    if isinstance(source, UrlSource):
        return UrlSource(url=source.url, subdirectory=source.subdirectory)
    if isinstance(source, VcsSource):
        return VcsSource(
            kind="git", url=source.url, revision=source.revision, subdirectory=source.subdirectory
        )
    if isinstance(source, PathSource):
        return PathSource(path=source.path)
    return source


def _by_name(requirements: Iterable[Requirement]) -> dict[NormalizedName, list[Requirement]]:
    table: dict[NormalizedName, list[Requirement]] = {}
    for requirement in sorted(requirements, key=str):
        table.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return table


def _in_order(dependencies: Iterable[Dependency]) -> tuple[Dependency, ...]:
    """Order by name, then by what is asked for."""
    return tuple(sorted(dict.fromkeys(dependencies), key=_ORDER))


_ORDER = attrgetter("order")

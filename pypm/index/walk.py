"""Walks the dependency graph ahead of the resolver, so that a cold answer waits for depth, not for size.

The resolver asks for one thing at a time, and only for what it has decided. The walk asks at once for what it
will probably ask: each page that a requirement names, of each page the version that the requirements seen so
far would choose, of each version's metadata the requirements in turn. It guesses, and a wrong guess costs a
request; it never decides anything, so no order of replies changes an answer.

All of its state belongs to one thread, which only ever waits for its queue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from pypm.model.candidate import Candidate, CandidateMetadata
from pypm.model.project import Source

if TYPE_CHECKING:
    from pypm.resolve.diagram import Cut
    from pypm.resolve.inputs import Inputs
    from pypm.resolve.lowering import Dependency, Lowering
    from pypm.resolve.markers import Markers
    from pypm.resolve.provider import Offer
    from pypm.resolve.versions import VersionList

MAX_NAMES_AHEAD = 200
"""Packages that are begun and that the resolver has not asked for: beyond it, the walk stands still."""

MAX_VERSIONS = 8
"""Versions of one package whose metadata are guessed; further ones are the resolver's to ask for."""

Key = tuple[NormalizedName, "Source | None"]


class Asker(Protocol):
    """Begins what the walk wants. Results come by themselves; asking twice is asking once."""

    def begin_offer(self, key: Key) -> Future[Offer]:
        """Ask for a page."""

    def begin_metadata(self, candidate: Candidate) -> Future[CandidateMetadata]:
        """Ask for the metadata of a version that has a wheel."""

    def names_ahead(self) -> int:
        """How many packages were begun that nobody has asked for."""


class _Place(Struct):
    """What the walk knows about one package."""

    begun: bool = False
    requirements: dict[Dependency, None] = field(default_factory=dict)
    extras: dict[NormalizedName, None] = field(default_factory=dict)
    offer: Offer | None = None
    versions: VersionList | None = None
    asked: set[Version] = field(default_factory=set)
    metadata: list[CandidateMetadata] = field(default_factory=list)


class Walk:
    """One walk for one question; see the module. End it with `close`."""

    def __init__(self, inputs: Inputs, asker: Asker) -> None:
        self._inputs = inputs
        self._asker = asker
        self._places: dict[Key, _Place] = {}
        self._events: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="index-walk", daemon=True)
        self._thread.start()

    def knows(self, key: Key) -> bool:
        """Whether the walk looks after a package: then its guesses are better than the resolver's."""
        place = self._places.get(key)
        return place is not None and place.begun

    def close(self) -> None:
        """Ask for nothing more."""
        self._closed = True
        self._events.put(None)
        self._thread.join()

    def _run(self) -> None:
        self._begin_direct()
        self._prepare()
        while (event := self._events.get()) is not None and not self._closed:
            event()

    def _begin_direct(self) -> None:
        """Begin with the names of the requirements that need no thought, before anything heavy is loaded."""
        inputs = self._inputs
        groups = (inputs.dependencies, *inputs.extras.values(), *inputs.groups.values())
        aside = {inputs.project, *inputs.sources, *inputs.settings.exclusions}
        aside.update(canonicalize_name(requirement.name) for requirement in inputs.settings.overrides)
        for requirement in (requirement for group in groups for requirement in group):
            name = canonicalize_name(requirement.name)
            if requirement.url is None and requirement.marker is None and name not in aside:
                self._ask((name, None), self._places.setdefault((name, None), _Place()))

    def _prepare(self) -> None:
        from pypm.resolve.lowering import Lowering
        from pypm.resolve.markers import Markers

        inputs = self._inputs
        target = inputs.environment
        self._markers: Markers = Markers(target.marker_environment if target else None)
        self._lowering: Lowering = Lowering(inputs, self._markers)
        diagram = self._markers.diagram
        self._universe = self._markers.world()
        if target is None:
            admitted = self._markers.admits(inputs.requires_python)
            self._universe = diagram.conjoin(self._universe, admitted)
        self._pins = {
            name: pins
            for name, pins in inputs.preferences.items()
            if name not in inputs.upgrade and not inputs.upgrade_all
        }
        for batch in self._lowering.root_batches():
            self._require(batch.dependencies)

    def _require(self, dependencies: tuple[Dependency, ...]) -> None:
        for dependency in dependencies:
            if self._markers.diagram.disjoint(self._universe, dependency.guard):
                continue
            key = (dependency.name, dependency.source)
            place = self._places.get(key)
            if place is None:
                place = self._places[key] = _Place()
            if dependency in place.requirements:
                continue
            place.requirements[dependency] = None
            self._ask(key, place)
            if place.offer is not None:
                self._choose(place)
            for extra in dependency.extras:
                if extra not in place.extras:
                    place.extras[extra] = None
                    for metadata in place.metadata:
                        self._expand(metadata, extra)

    def _ask(self, key: Key, place: _Place) -> None:
        if place.begun or self._closed or self._asker.names_ahead() >= MAX_NAMES_AHEAD:
            return
        place.begun = True

        def arrived(future: Future[Offer]) -> None:
            if future.exception() is None:
                self._events.put(lambda: self._opened(place, future.result()))

        self._asker.begin_offer(key).add_done_callback(arrived)

    def _opened(self, place: _Place, offer: Offer) -> None:
        from pypm.resolve.versions import VersionList

        place.offer, place.versions = offer, VersionList(offer.versions)
        self._choose(place)

    def _choose(self, place: _Place) -> None:
        """Ask for the versions that the requirements seen so far would choose."""
        for candidate in self._likely(place):
            if candidate.version in place.asked:
                continue
            if self._closed or len(place.asked) >= MAX_VERSIONS:
                return
            place.asked.add(candidate.version)
            if not candidate.wheels:
                continue

            def arrived(future: Future[CandidateMetadata]) -> None:
                if future.exception() is None:
                    self._events.put(lambda: self._read(place, future.result()))

            self._asker.begin_metadata(candidate).add_done_callback(arrived)

    def _likely(self, place: _Place) -> Iterator[Candidate]:
        """Yield the choice under all requirements together, or under each where they exclude each other."""
        versions = place.versions
        if versions is None or not place.requirements:
            return
        masks = {one: versions.mask(one.specifier) for one in place.requirements}
        together = versions.all
        for mask in masks.values():
            together &= mask
        if together:
            guards = {one.guard for one in masks if not one.is_constraint}
            yield from self._best(place, together, guards)
            return
        disjoint = self._markers.diagram.disjoint
        for one, mask in masks.items():
            left = mask
            for other, narrower in masks.items():
                if not disjoint(one.guard, other.guard):
                    left &= narrower
            if left and not one.is_constraint:
                yield from self._best(place, left, {one.guard})

    def _best(self, place: _Place, mask: int, guards: set[int]) -> Iterator[Candidate]:
        """Yield the best version, and where it asks for a newer Python than the lowest, one for that too."""
        offer, versions = place.offer, place.versions
        assert offer is not None
        assert versions is not None
        floor = self._floor(guards)
        for bit in self._in_order(place, versions, mask):
            candidate = offer.candidate(versions.version(bit))
            if candidate.yanked is not None and versions.version(bit) not in self._pinned(place):
                continue
            bound = self._bound(candidate)
            if bound is None or floor is None or bound <= floor:
                yield candidate
                return
            if self._inputs.environment is None:
                yield candidate

    def _in_order(self, place: _Place, versions: VersionList, mask: int) -> Iterator[int]:
        for version in self._pinned(place):
            if bit := versions.bit(version) & mask:
                yield bit
        settings = self._inputs.settings
        ordered = versions.ascending if settings.strategy == "lowest" else versions.descending
        if settings.prerelease == "allow":
            yield from ordered(mask)
            return
        yield from ordered(mask & versions.stable)
        yield from ordered(mask & ~versions.stable)

    def _pinned(self, place: _Place) -> list[Version]:
        asked = next(iter(place.requirements))
        return [pin.version for pin in self._pins.get(asked.name, ()) if pin.is_from(asked.source)]

    def _floor(self, guards: set[int]) -> Cut | None:
        diagram = self._markers.diagram
        reach = self._universe
        if guards:
            several = iter(guards)
            union = next(several)
            for guard in several:
                union = diagram.disjoin(union, guard)
            reach = diagram.conjoin(reach, union)
        return self._markers.python_floor(reach)

    def _bound(self, candidate: Candidate) -> Cut | None:
        from pypm.resolve.markers import lower_bound

        return lower_bound(candidate.requires_python)

    def _read(self, place: _Place, metadata: CandidateMetadata) -> None:
        place.metadata.append(metadata)
        self._expand(metadata, None)
        for extra in list(place.extras):
            self._expand(metadata, extra)

    def _expand(self, metadata: CandidateMetadata, extra: NormalizedName | None) -> None:
        from pypm.resolve.lowering import UnlistedUrlError

        try:
            dependencies = self._lowering.of_package(metadata, extra)
        except UnlistedUrlError:
            return  # The resolver will refuse the version, and say why.
        self._require(dependencies)

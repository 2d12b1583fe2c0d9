"""What the resolver asks of the world. The resolver owns this protocol; `pypm.index.provider` answers it.

Both questions may block; the two `prefetch` calls are hints that never change an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from packaging.utils import NormalizedName
from packaging.version import Version

from pypm.model.candidate import Candidate, CandidateMetadata
from pypm.model.project import Source


class Offer(Protocol):
    """All that one place offers under one name. Candidates are built only when looked at."""

    @property
    def versions(self) -> Sequence[Version]:
        """Every version with at least one usable file, highest first, pre-releases and yanked included."""

    @property
    def excluded(self) -> Mapping[Version, str]:
        """Versions left out by the date limit or `--no-build`/`--no-binary`, with the reason, for
        explanations."""

    def candidate(self, version: Version) -> Candidate:
        """Return the candidate; cheap, and the same object for the same version."""


class Unavailable(Exception):  # noqa: N818 - an answer that is not there, not always an error
    """A package or a version's metadata that cannot be had; the resolver goes round it and tells the
    reason."""

    def __init__(self, reason: str, *, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class Provider(Protocol):
    """Answers about packages."""

    def offer(self, name: NormalizedName, source: Source | None) -> Offer:
        """Return what `source`, or the configured indexes in order, offer under `name`.

        Raises:
            Unavailable: no index has a page for the name.
            pypm.errors.IndexAccessError: an index could not be asked; resolution stops.
        """

    def metadata(self, candidate: Candidate) -> CandidateMetadata:
        """Return the candidate's core metadata.

        Raises:
            Unavailable: the metadata is malformed, or only a build would tell and builds are off.
            pypm.errors.IndexAccessError: an index could not be asked; resolution stops.
        """

    def prefetch_offers(self, names: Iterable[tuple[NormalizedName, Source | None]]) -> None:
        """Names that will be asked for soon."""

    def prefetch_metadata(self, candidates: Iterable[Candidate]) -> None:
        """Candidates whose metadata will be asked for soon."""

"""Files that plugins offer for artifacts, put where downloads would lie: each as soon as it is offered."""

from __future__ import annotations

import enum
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from pypm.files import locked, storage_errors
from pypm.index.download import archive_path
from pypm.model.artifact import LockedArtifact
from pypm.plugins.offers import Offer
from pypm.workflow.stages import Package

if TYPE_CHECKING:
    from pypm.workflow.context import Context


class _Outcome(enum.Enum):
    """What became of one offer."""

    TAKEN = enum.auto()
    THERE = enum.auto()
    """The artifact was there already."""
    WRONG = enum.auto()
    """The file is not the locked one."""


class Taking:
    """Takes offers while the hooks that make them go on. Use it as a context manager.

    A file with another hash is looked at once more when the hooks have ended, for a plugin may offer a file
    before it has written all of it. However often a plugin offers, that is as much as it can have read.
    """

    def __init__(
        self, context: Context, wanted: Mapping[str, LockedArtifact], arrived: Callable[[Path], None]
    ) -> None:
        """`wanted` are the artifacts by their filenames; `arrived` is told where each that was taken lies.

        It is called on a thread of this class, while hooks may still be running.
        """
        self._context = context
        self._wanted = wanted
        self._arrived = arrived
        self._begun: dict[tuple[str, int], Future[_Outcome]] = {}
        # One thread, which copies faster than lines bring: what the first plugin offers is judged first.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="take")

    def __enter__(self) -> Taking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Waited for in any case: the folder that is copied from goes with the plugin's host.
        self._pool.shutdown(cancel_futures=True)

    def begin(self, offer: Offer, package: Package) -> None:
        """Begin to take the first file that a plugin offers for a package."""
        key = (offer.plugin, offer.package)
        if key not in self._begun:
            self._begun[key] = self._pool.submit(self._take, offer, package)

    def finish(self, offers: Iterable[tuple[Offer, Package]]) -> Counter[str]:
        """Wait for what was begun; return how many artifacts came from each plugin.

        `offers` are those that hold when the hooks have ended: the last of a plugin for a package.

        Raises: StorageError: the cache cannot be written.
        """
        taken: Counter[str] = Counter()
        for offer, package in offers:
            outcome = self._begun[offer.plugin, offer.package].result()
            if outcome is _Outcome.WRONG:
                outcome = self._take(offer, package)
                if outcome is not _Outcome.TAKEN:
                    self._context.reporter.warn(
                        f"{offer.plugin}: what it offered for `{package.artifact}` is another file than the"
                        " locked one; it is downloaded instead"
                    )
            taken[offer.plugin] += outcome is _Outcome.TAKEN
        return +taken

    def _take(self, offer: Offer, package: Package) -> _Outcome:
        """Put an offered file where a download would; it is compared with the lock on the way."""
        assert package.artifact is not None, "only artifacts are fetched"
        artifact = self._wanted[package.artifact]
        place = archive_path(self._context.cache.wheels, artifact)
        beside = self._context.cache.scratch / f"offer-{secrets.token_hex(8)}"
        for folder in (place.parent, beside.parent):
            with storage_errors(f"create `{folder}`"):
                folder.mkdir(parents=True, exist_ok=True)
        with locked(place.with_name(f"{place.name}.lock")):
            if place.exists():
                return _Outcome.THERE
            if not offer.take(beside):
                return _Outcome.WRONG
            with storage_errors(f"write `{place}`"):
                beside.rename(place)
        self._arrived(place)
        return _Outcome.TAKEN

"""The stages of a command, at which plugins are called.

`Context.stages` is made once a command. Where the project names no plugin it is this class, whose methods do
nothing, so that those who use none pay for none; else it is `plugin_stages.PluginStages`. It is opened by
the workflows that have stages, and stays shut for all others.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pypm.digest import Sha256
from pypm.model.artifact import IndexFile
from pypm.model.lock import Lock
from pypm.model.plan import Pick
from pypm.model.wheel import StoredWheel
from pypm.paths import Cache
from pypm.plugins.inside.context import Package, Stage

if TYPE_CHECKING:
    from pypm.plugins.offers import Offer

__all__ = [
    "Missing", "OnOffer", "Package", "Pins", "Stage", "Stages", "archive_package", "built_package",
    "ignore_offer", "locked_packages", "picked_package", "stored_package",
]  # fmt: skip


OnOffer = Callable[["Offer", Package], None]
"""Is told of an offer while the hook that makes it goes on."""


def ignore_offer(offer: Offer, package: Package) -> None:
    """Wait for the hook's end."""


class Pins(enum.Enum):
    """How far a plugin must be the one that the lock names."""

    RENEWED = "renewed"
    """Not at all: `pypm lock` pins what is there."""
    KNOWN = "known"
    """Where the lock has a pin for this platform: it is being made anew for another reason."""
    REQUIRED = "required"
    """What has no pin is refused."""


class Missing(Struct, frozen=True, kw_only=True):
    """A plugin whose package is locked but not in the store yet."""

    plugin: str
    package: str
    picks: tuple[Pick, ...]
    """What is to be fetched."""


class Stages:
    """The stages of a command without plugins."""

    def close(self) -> None:
        """End all hosts."""

    def open(self, lock: Lock | None, pins: Pins) -> tuple[Missing, ...]:
        """Make the plugins ready; return those whose packages must be fetched first, then open once more."""
        return ()

    def wants(self, *stages: Stage) -> bool:
        """Whether any plugin has a hook for one of these stages."""
        return False

    def warm(self, *stages: Stage) -> None:
        """Start the hosts that these stages will need, and do not wait for them."""

    def ready(self, *stages: Stage, environment_digest: str | None) -> tuple[dict[str, Any], ...] | None:
        """Return what a ready plan keeps to call stages that are about no package; None where it cannot.

        Their hosts must have been started.
        """
        return ()

    def call(
        self,
        stage: Stage,
        packages: Iterable[Package] = (),
        *,
        environment_digest: str | None = None,
        on_offer: OnOffer = ignore_offer,
    ) -> tuple[tuple[Offer, Package], ...]:
        """Call the plugins that want a stage; return the files that they offer, each with its package."""
        return ()

    def check(self) -> None:
        """Raise what a plugin ended the command with on a thread that nobody waited for."""

    def pre_fetch(self, file: IndexFile) -> None:
        """Before an archive is fetched that a lock needs. Implements `index.archives.FetchHooks`."""

    def post_fetch(self, file: IndexFile, archive: Path) -> None:
        """An archive that a lock needs is here, and not unpacked."""

    def pre_metadata(self, package: Package) -> None:
        """Before a build tells the metadata of a version that a lock looks at."""

    def fetching(
        self, picks: Sequence[Pick], known_url: Callable[[Pick], str | None], arrived: Callable[[Path], None]
    ) -> None:
        """Before artifacts are downloaded: take what plugins offer for them.

        `arrived` is told the place of each as soon as it lies where a download would, on another thread:
        plugins may be bringing more meanwhile.
        """

    def fetched(
        self,
        picks: Sequence[Pick],
        wheels: Sequence[StoredWheel | None],
        known_url: Callable[[Pick], str | None],
    ) -> None:
        """After artifacts were downloaded, and wheels among them unpacked."""

    def found(
        self, pairs: Iterable[tuple[Pick | None, StoredWheel]], archives: Mapping[Sha256, Path]
    ) -> None:
        """Show what the store had already to those who have not let it pass yet."""

    def built(self, package: Package) -> None:
        """After a wheel was built and unpacked, or taken from who built it."""


def picked_package(
    cache: Cache, pick: Pick, *, url: str | None = None, wheel: StoredWheel | None = None
) -> Package:
    """Return what a plugin is told of a pick: with its archive and its tree, where they are there."""
    from pypm.index.download import archive_path

    artifact = pick.artifact
    path = None
    if artifact is not None and artifact.sha256 is not None:
        place = archive_path(cache.wheels, artifact)
        path = str(place) if place.is_file() else None
    return Package(
        name=pick.package.name,
        version=pick.package.version,
        artifact=None if artifact is None else artifact.filename,
        url=url,
        sha256=None if artifact is None else artifact.sha256,
        path=path,
        tree=None if wheel is None else str(wheel.prefix),
        size_bytes=0 if artifact is None else artifact.size_bytes or 0,
    )


def archive_package(file: IndexFile, archive: Path | None = None) -> Package:
    """Return what a plugin is told of an archive that a lock needs."""
    from pypm.codec.filenames import parse_sdist_name, parse_wheel_name
    from pypm.index.auth import split_login

    parsed = parse_wheel_name(file.filename) or parse_sdist_name(file.filename)
    assert parsed is not None, "only wheels and source distributions are fetched"
    return Package(
        name=parsed.name,
        version=str(parsed.version),
        artifact=file.filename,
        url=split_login(file.url)[0],
        sha256=file.sha256,
        path=None if archive is None else str(archive),
        size_bytes=file.size_bytes or 0,
    )


def built_package(wheel: StoredWheel, archive: Path | None) -> Package:
    """Return what a plugin is told of a wheel that was built here."""
    there = archive is not None and archive.is_file()
    return Package(
        name=wheel.name,
        version=wheel.version,
        artifact=None if archive is None else archive.name,
        sha256=wheel.sha256,
        path=str(archive) if there else None,
        tree=str(wheel.prefix),
        size_bytes=archive.stat().st_size if there and archive is not None else 0,
    )


def stored_package(wheel: StoredWheel) -> Package:
    """Return what a plugin is told of a wheel of the environment."""
    return Package(name=wheel.name, version=wheel.version, sha256=wheel.sha256, tree=str(wheel.prefix))


def locked_packages(lock: Lock) -> tuple[Package, ...]:
    """Return what a plugin is told of a lock that serves every platform."""
    return tuple(Package(name=package.name, version=package.version) for package in lock.packages)

"""The last step of `pypm sync`: compare an environment with what lies at its place, write it there, tell.

Light on purpose: a sync whose ready plan says what the environment is made of needs only this, and none of
what reads the lock and chooses wheels. See `docs/design/0015-ready-plans.md`.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pypm.environment.writer import Overlap, read_state, sweep, write
from pypm.model.wheel import StoredWheel
from pypm.paths import ENVIRONMENT_FOLDER

if TYPE_CHECKING:
    from pypm.model.artifact import Sha256
    from pypm.model.environment import Environment
    from pypm.workflow.report import Reporter

_NOTHING = "Nothing to do:"
_DIST_INFO = ".dist-info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Of an environment, what writing it takes; made from one, or from what a plan has kept of one."""

    digest: Sha256
    location: Path
    base: Path
    site_packages: str
    """Below `location`."""
    installed: tuple[StoredWheel, ...]
    """In the order in which they win."""

    @property
    def distributions(self) -> tuple[str, ...]:
        """Their `.dist-info` folders."""
        return tuple(wheel.dist_info for wheel in self.installed)


def placement_of(environment: Environment) -> Placement:
    """Return what writing `environment` takes."""
    return Placement(
        digest=environment.digest,
        location=environment.location,
        base=environment.base,
        site_packages=environment.interpreter.site_packages,
        installed=environment.installed,
    )


def as_data(placement: Placement) -> dict[str, Any]:
    """Return plain data for a plan, which `from_data` reads."""
    return {
        "digest": placement.digest,
        "location": os.fspath(placement.location),
        "base": os.fspath(placement.base),
        "site_packages": placement.site_packages,
        "installed": tuple(
            (
                wheel.name,
                wheel.version,
                wheel.sha256,
                wheel.merkle_root,
                os.fspath(wheel.tree),
                wheel.dist_info,
            )
            for wheel in placement.installed
        ),
    }


def from_data(data: dict[str, Any]) -> Placement:
    """Return what `as_data` was given. Scripts and entry points are in the generated layer already."""
    return Placement(
        digest=data["digest"],
        location=Path(data["location"]),
        base=Path(data["base"]),
        site_packages=data["site_packages"],
        installed=tuple(
            StoredWheel(
                name=name,
                version=version,
                sha256=sha256,
                merkle_root=merkle_root,
                tree=Path(tree),
                dist_info=dist_info,
            )
            for name, version, sha256, merkle_root, tree, dist_info in data["installed"]
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What writing an environment would change at its place."""

    changed: bool
    added: tuple[str, ...] = ()
    """`name version`, sorted."""
    removed: tuple[str, ...] = ()


def compare(placement: Placement) -> Comparison:
    """Compare with what lies at the place: by the state that pypm left there, then by the distributions."""
    state = read_state(placement.location)
    if state is not None and state.base == placement.base.name:
        return Comparison(changed=False)
    try:
        names = os.listdir(placement.location / placement.site_packages)  # noqa: PTH208 - one call, no objects
    except OSError:
        names = []
    present = {name for name in names if name.endswith(_DIST_INFO)}
    wanted = set(placement.distributions)
    return Comparison(
        changed=True,
        added=tuple(sorted(map(_readable, wanted - present))),
        removed=tuple(sorted(map(_readable, present - wanted))),
    )


def place(placement: Placement, reporter: Reporter) -> None:
    """Write the environment at its place, and tell which files of wheels are hidden by another's.

    Raises: as `environment.writer.write`.
    """

    def tell_wait(holder: str) -> None:
        reporter.step("Waiting", f"for `{ENVIRONMENT_FOLDER}`, which {holder} writes")

    for overlap in write(placement, on_wait=tell_wait):
        tell_overlap(overlap, reporter)


def tell_overlap(overlap: Overlap, reporter: Reporter) -> None:
    """One path that two wheels bring: only `-v` wants to know."""
    reporter.detail(f"`{overlap.path}` of `{overlap.loser}` is hidden by that of `{overlap.winner}`")


def tidy(placement: Placement) -> None:
    """Remove what killed processes left beside an environment that is as it should be."""
    sweep(placement)


def tell_changes(comparison: Comparison, reporter: Reporter, *, installed: str, removed: str) -> None:
    """Name every distribution that comes or goes."""
    for name in comparison.removed:
        reporter.change("-", name)
    for name in comparison.added:
        reporter.change("+", name)
    if comparison.added:
        reporter.step(installed, count(len(comparison.added)))
    if comparison.removed:
        reporter.step(removed, count(len(comparison.removed)))


def tell_placed(placement: Placement, comparison: Comparison, reporter: Reporter, *, since: float) -> None:
    """Name what came and went, and how long it took; `since` is a time of `time.monotonic`."""
    tell_changes(comparison, reporter, installed="Installed", removed="Removed")
    seconds = time.monotonic() - since
    reporter.step("Synced", f"{count(len(placement.installed))} in {seconds:.2f} s")


def nothing_to_do(placement: Placement) -> tuple[str, str]:
    """Return what is told where the environment is there already: the verb and the rest."""
    return _NOTHING, f"{count(len(placement.installed))} as locked"


def count(number: int) -> str:
    """`1 package`, `2 packages`."""
    return f"{number} package{'' if number == 1 else 's'}"


def _readable(dist_info: str) -> str:
    name, _, version = dist_info.removesuffix(_DIST_INFO).partition("-")
    # As the lock writes it: one package has one name, whatever its author calls the folder.
    return f"{name.replace('_', '-').replace('.', '-').lower()} {version}"

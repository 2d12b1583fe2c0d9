"""Which version of a package is tried next."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.markers import Marker
from packaging.utils import NormalizedName
from packaging.version import Version

from pypm.resolve.inputs import Inputs
from pypm.resolve.lowering import Lowering
from pypm.resolve.markers import Markers
from pypm.resolve.packages import Package


class Selection:
    """Orders the versions that are left of a package: kept ones, then by strategy, pre-releases last."""

    def __init__(self, inputs: Inputs, markers: Markers, lowering: Lowering) -> None:
        self._markers = markers
        self._settings = inputs.settings
        self._direct = lowering.direct_names()
        self._locked: dict[NormalizedName, list[tuple[Version, int]]] = {}
        """From the existing lock: kept wherever they fit."""
        self._found: dict[tuple[NormalizedName, object], list[tuple[Version, int]]] = {}
        """From forks that are solved already: fewer versions are better than newer ones in one fork."""
        if not inputs.upgrade_all:
            for name, preferences in inputs.preferences.items():
                if name not in inputs.upgrade:
                    rows = sorted(preferences, key=lambda kept: (kept.version, str(kept.marker)), reverse=True)
                    self._locked[name] = [(kept.version, self._parse(kept.marker)) for kept in rows]

    def _parse(self, marker: Marker | None) -> int:
        return self._markers.parse(marker)

    def remember(self, package: Package, version: Version, region: int) -> None:
        """Prefer a version in forks to come."""
        self._found.setdefault((package.name, package.source), []).append((version, region))

    def in_order(self, package: Package, mask: int, region: int, *, direct: bool) -> Iterator[int]:
        """Yield the versions of a mask one bit at a time, the best first; some may come twice."""
        versions = package.versions
        yield from self._preferred(package, mask, region)
        strategy = self._settings.strategy
        lowest = strategy == "lowest" or (strategy == "lowest-direct" and direct)
        ordered = versions.ascending if lowest else versions.descending
        if self._settings.prerelease == "allow":
            yield from ordered(mask)
        else:
            yield from ordered(mask & versions.stable)
            yield from ordered(mask & ~versions.stable)

    def _preferred(self, package: Package, mask: int, region: int) -> Iterator[int]:
        for rows, from_lock in (
            (self._locked.get(package.name, ()), True),
            (self._found.get((package.name, package.source), ()), False),
        ):
            here = [row for row in rows if not self._markers.diagram.disjoint(row[1], region)]
            elsewhere = [row for row in rows if row not in here]
            for version, _ in (*here, *elsewhere):
                bit = package.versions.bit(version) & mask
                # A pre-release that one fork needs says nothing about the others.
                if bit and (from_lock or not version.is_prerelease or self._settings.prerelease == "allow"):
                    yield bit

    def refusal(self, package: Package, version: Version, yanked: str | None) -> str | None:
        """Return why a version must not be chosen although it is offered; None when it may."""
        if yanked is not None and not self._is_pinned(package.name, version):
            return f"was yanked ({yanked.strip().rstrip('.')})" if yanked.strip() else "was yanked"
        if version.is_prerelease:
            if self._settings.prerelease == "disallow":
                return "is a pre-release"
            if self._settings.prerelease == "explicit" and not self._names_prerelease(package.name):
                return "is a pre-release"
        return None

    def _is_pinned(self, name: NormalizedName, version: Version) -> bool:
        """A yanked version is used only where the user, or the lock that exists, names exactly it (PEP 592)."""
        if any(kept == version for kept, _ in self._locked.get(name, ())):
            return True
        return any(
            specifier.operator in ("==", "===")
            and not specifier.version.endswith(".*")
            and specifier.contains(version, prereleases=True)
            for requirement in self._direct.get(name, ())
            for specifier in requirement.specifier
        )

    def _names_prerelease(self, name: NormalizedName) -> bool:
        return any(requirement.specifier.prereleases for requirement in self._direct.get(name, ()))

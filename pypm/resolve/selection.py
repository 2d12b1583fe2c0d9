"""Which version of a package is tried next."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from packaging.utils import NormalizedName
from packaging.version import Version

from pypm.resolve.incompatibility import Refusal
from pypm.resolve.inputs import Inputs, Preference
from pypm.resolve.lowering import Lowering
from pypm.resolve.markers import Markers
from pypm.resolve.packages import Package


class _Kept(Struct, frozen=True):
    version: Version
    where: int
    locked: Preference | None = None
    """What the existing lock says; None for what an earlier fork found."""

    @property
    def from_lock(self) -> bool:
        return self.locked is not None


class Selection:
    """Orders the versions that are left of a package: kept ones, then by strategy, pre-releases last."""

    def __init__(self, inputs: Inputs, markers: Markers, lowering: Lowering) -> None:
        self._markers = markers
        self._settings = inputs.settings
        self._direct = lowering.direct_names()
        self._locked: dict[NormalizedName, list[_Kept]] = {}
        """From the existing lock: kept wherever they fit."""
        self._found: dict[tuple[NormalizedName, object], dict[Version, _Kept]] = {}
        """From forks that are solved already: fewer versions are better than newer ones in one fork."""
        if not inputs.upgrade_all:
            for name, preferences in inputs.preferences.items():
                if name not in inputs.upgrade:
                    self._locked[name] = [
                        _Kept(kept.version, markers.parse(kept.marker), kept) for kept in preferences
                    ]

    def remember(self, package: Package, version: Version, region: int) -> None:
        """Prefer a version in forks to come.

        Not where the strategy tells direct dependencies from others: what is direct in one fork may not be in
        another, and then each has a version of its own.
        """
        if self._settings.strategy != "lowest-direct":
            rows = self._found.setdefault((package.name, package.source), {})
            known = rows.get(version)
            where = region if known is None else self._markers.diagram.disjoin(known.where, region)
            rows[version] = _Kept(version, where)

    def in_order(self, package: Package, mask: int, region: int, *, direct: bool) -> Iterator[int]:
        """Yield the versions of a mask one bit at a time, the best first; some may come twice."""
        versions = package.versions
        strategy = self._settings.strategy
        lowest = strategy == "lowest" or (strategy == "lowest-direct" and direct)
        yield from self._preferred(package, mask, region, lowest=lowest)
        ordered = versions.ascending if lowest else versions.descending
        if self._settings.prerelease == "allow":
            yield from ordered(mask)
        else:
            yield from ordered(mask & versions.stable)
            yield from ordered(mask & ~versions.stable)

    def _preferred(self, package: Package, mask: int, region: int, *, lowest: bool) -> Iterator[int]:
        """Yield what is kept: what this region used first, then what others use, the best version first."""
        locked = self._locked.get(package.name, ())
        rows = [kept for kept in locked if kept.locked is None or kept.locked.is_from(package.source)]
        rows += self._found.get((package.name, package.source), {}).values()
        if len(rows) > 1:
            rows.sort(key=lambda kept: (kept.version, kept.from_lock), reverse=not lowest)
            rows.sort(key=lambda kept: self._markers.diagram.disjoint(kept.where, region))
        versions = package.versions
        for kept in rows:
            # A pre-release that one fork needs says nothing about the others.
            usable = kept.from_lock or not kept.version.is_prerelease or self._settings.prerelease == "allow"
            bit = versions.bit(kept.version) & mask
            if bit and usable:
                if not kept.from_lock and kept.version.local is None:
                    # A fork took the public version for want of a wheel: the local one is better here.
                    yield from versions.descending(versions.local_of(kept.version) & mask)
                yield bit

    def refusal(self, package: Package, version: Version, yanked: str | None) -> Refusal | None:
        """Return why a version must not be chosen although it is offered; None when it may."""
        if yanked is not None and not self._is_pinned(package.name, version):
            reason = f" ({yanked.strip().rstrip('.')})" if yanked.strip() else ""
            return Refusal("yanked", f"was yanked{reason}")
        if version.is_prerelease:
            if self._settings.prerelease == "disallow":
                return Refusal("prerelease", "is a pre-release")
            if self._settings.prerelease == "explicit" and not self._names_prerelease(package.name):
                return Refusal("prerelease", "is a pre-release")
        return None

    def _is_pinned(self, name: NormalizedName, version: Version) -> bool:
        """A yanked version is used only where the user, or the lock that exists, names exactly it (PEP
        592)."""
        if any(kept.version == version for kept in self._locked.get(name, ())):
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

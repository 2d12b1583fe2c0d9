"""The versions of one package as bits, so that sets of versions are integers.

Bit 0 stands for "not part of the solution", bit i + 1 for the i-th version in ascending order. With that
one bit more, PubGrub's positive and negative terms are the same thing: a set of states, of which exactly
one comes true.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from packaging.specifiers import Specifier, SpecifierSet
from packaging.version import Version

ABSENT = 1
PRESENT = 2
"""The only version of a package that is a mere proposition: the root, an extra."""


class VersionList:
    """Every known version of one package, ascending."""

    def __init__(self, versions: Sequence[Version]) -> None:
        self.versions = tuple(sorted(versions))
        count = len(self.versions)
        self.all = ((1 << count) - 1) << 1
        """Every version, without the bit for "absent"."""
        self.full = self.all | ABSENT
        self.stable = sum(
            PRESENT << i for i, version in enumerate(self.versions) if not version.is_prerelease
        )
        self._masks: dict[SpecifierSet, int] = {}
        self._masks_by_identity: dict[int, tuple[SpecifierSet, int]] = {}
        """The set is kept beside its mask, so that nothing else ever has its identity; to hash a set costs as
        much as a bisection."""

    def mask(self, specifiers: SpecifierSet) -> int:
        """Return the versions that the specifiers admit, pre-releases included."""
        known = self._masks_by_identity.get(id(specifiers))
        if known is not None:
            return known[1]
        found = self._masks.get(specifiers)
        if found is None:
            found = self.all
            for specifier in specifiers:
                found &= self._mask_of_one(specifier)
            self._masks[specifiers] = found
        self._masks_by_identity[id(specifiers)] = specifiers, found
        return found

    def bit(self, version: Version) -> int:
        """Return the mask of one version, 0 when it is not known."""
        i = bisect_left(self.versions, version)
        return PRESENT << i if i < len(self.versions) and self.versions[i] == version else 0

    def local_of(self, public: Version) -> int:
        """Return the local versions of a public one: 1.0+cpu and 1.0+cu124 of 1.0."""
        start = bisect_left(self.versions, public)
        found = 0
        for i in range(start, len(self.versions)):
            version = self.versions[i]
            if version.local is not None and version.public == public.public:
                found |= PRESENT << i
            elif version != public:
                break
        return found

    def version(self, bit: int) -> Version:
        """Return the version of a mask with one bit."""
        return self.versions[bit.bit_length() - 2]

    def text(self, name: str, mask: int) -> str:
        """Return a set of versions as a reader would say it: `a>=1.2`, `a==1.0 or a==3.0`; all of them as
        `a`."""
        mask &= self.all
        if mask == self.all:
            return name
        runs: list[tuple[int, int]] = []
        for i in range(len(self.versions)):
            if mask & (PRESENT << i):
                if runs and runs[-1][1] == i - 1:
                    runs[-1] = (runs[-1][0], i)
                else:
                    runs.append((i, i))
        return " or ".join(f"{name}{self._run_text(first, last)}" for first, last in runs) or f"no {name}"

    def _run_text(self, first: int, last: int) -> str:
        if first == last:
            return f"=={self.versions[first]}"
        lower = f">={self.versions[first]}" if first else ""
        upper = f"<={self.versions[last]}" if last < len(self.versions) - 1 else ""
        return ",".join(part for part in (lower, upper) if part)

    def descending(self, mask: int) -> Iterator[int]:
        """Yield the single bits of a mask, the highest version first."""
        mask &= self.all
        while mask:
            bit = 1 << (mask.bit_length() - 1)
            yield bit
            mask ^= bit

    def ascending(self, mask: int) -> Iterator[int]:
        """Yield the single bits of a mask, the lowest version first."""
        mask &= self.all
        while mask:
            bit = mask & -mask
            yield bit
            mask ^= bit

    def _mask_of_one(self, specifier: Specifier) -> int:
        """A specifier admits one run of the sorted versions (`!=` refuses one), found by bisection."""
        operator = specifier.operator
        if operator == "===":
            return sum(PRESENT << i for i, v in enumerate(self.versions) if specifier.contains(str(v), True))
        count = len(self.versions)
        if operator in (">=", ">"):
            start = self._first(0, lambda version: specifier.contains(version, True))
            return _run(start, count)
        if operator in ("<", "<="):
            return _run(0, self._first(0, lambda version: not specifier.contains(version, True)))
        if operator == "!=":
            return self.all & ~self._equal(Specifier(f"=={specifier.version}"))
        return self._equal(specifier)

    def _equal(self, specifier: Specifier) -> int:
        version = specifier.version
        if version.endswith(".*"):
            version = f"{version[:-2]}.dev0"
        start = bisect_left(self.versions, Version(version))
        return _run(start, self._first(start, lambda other: not specifier.contains(other, True)))

    def _first(self, start: int, holds: Callable[[Version], bool]) -> int:
        """Return the first index from `start` whose version satisfies a predicate that stays true."""
        low, high = start, len(self.versions)
        while low < high:
            middle = (low + high) // 2
            if holds(self.versions[middle]):
                high = middle
            else:
                low = middle + 1
        return low


def _run(start: int, end: int) -> int:
    return ((1 << max(end - start, 0)) - 1) << (start + 1)


PROPOSITION = VersionList((Version("0"),))
"""The versions of a package that can only be there or not."""

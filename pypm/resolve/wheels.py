"""For which environments a release's wheels can serve, read from their file names alone."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from pypm.model.candidate import Candidate
from pypm.model.target import Target
from pypm.resolve.diagram import FALSE, TRUE, Cut
from pypm.resolve.markers import Markers, release_key

LINUX_MACHINES = (
    "x86_64", "aarch64", "i686", "armv7l", "armv6l", "ppc64le", "ppc64", "s390x", "riscv64", "loongarch64",
)  # fmt: skip
MACOS_MACHINES = {
    "x86_64": ("x86_64",),
    "arm64": ("arm64",),
    "universal2": ("x86_64", "arm64"),
    "intel": ("x86_64", "i386"),
    "fat64": ("x86_64", "ppc64"),
    "universal": ("x86_64", "i386", "ppc", "ppc64"),
}
WINDOWS_MACHINES = {"win32": ("x86",), "win_amd64": ("AMD64",), "win_arm64": ("ARM64",)}


@cache
def tag_sets(filename: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] | None:
    """Return Python tags, ABI tags and platform tags of a wheel's name; None when it is not one."""
    parts = filename.removesuffix(".whl").rsplit("-", 3)
    if len(parts) != 4:
        return None
    pythons, abis, platforms = (tuple(part.lower().split(".")) for part in parts[1:])
    return pythons, abis, platforms


def fits_target(candidate: Candidate, target: Target) -> bool:
    """Tell whether one environment can use the candidate: a wheel with a tag of its own, or an sdist."""
    return bool(candidate.sdists) or any(
        _expanded(file.filename) & frozenset(target.tags) for file in candidate.wheels
    )


@cache
def _expanded(filename: str) -> frozenset[str]:
    sets = tag_sets(filename)
    if sets is None:
        return frozenset()
    pythons, abis, platforms = sets
    return frozenset(f"{p}-{a}-{platform}" for p in pythons for a in abis for platform in platforms)


class Coverage:
    """Tells which environments some wheel of a candidate covers."""

    def __init__(self, markers: Markers) -> None:
        self._markers = markers
        self._platforms: dict[str, int] = {}

    def has_python(self, candidate: Candidate, floor: Cut | None, ceiling: Cut | None) -> bool:
        """Tell whether an sdist, or a wheel for some Python between two cuts, exists."""
        return bool(candidate.sdists) or any(
            _serves_python(file.filename, floor, ceiling) for file in candidate.wheels
        )

    def platforms(self, candidate: Candidate) -> int:
        """Return the environments whose platform some file of the candidate serves."""
        if candidate.sdists:
            return TRUE
        tags = {
            platform for file in candidate.wheels for platform in (tag_sets(file.filename) or ((), (), ()))[2]
        }
        node = FALSE
        for tag in sorted(tags):
            node = self._markers.diagram.disjoin(node, self._platform(tag))
        return node

    def _platform(self, tag: str) -> int:
        found = self._platforms.get(tag)
        if found is None:
            found = self._platforms[tag] = self._platform_node(tag)
        return found

    def _platform_node(self, tag: str) -> int:
        if tag.startswith(("manylinux", "musllinux", "linux_")):
            machine = next((name for name in LINUX_MACHINES if tag.endswith(f"_{name}")), None)
            return self._machines("linux", (machine,) if machine else ())
        if tag.startswith("macosx_"):
            suffix = next((name for name in MACOS_MACHINES if tag.endswith(f"_{name}")), None)
            return self._machines("darwin", MACOS_MACHINES[suffix] if suffix else ())
        if tag in WINDOWS_MACHINES:
            return self._machines("win32", WINDOWS_MACHINES[tag])
        for prefix in ("android", "ios", "emscripten", "cygwin"):
            if tag.startswith(f"{prefix}_"):
                return self._markers.equal("sys_platform", prefix)
        return TRUE  # "any", and platforms that markers have no word for.

    def _machines(self, platform: str, machines: Iterable[str]) -> int:
        diagram = self._markers.diagram
        union = FALSE
        for machine in machines:
            union = diagram.disjoin(union, self._markers.equal("platform_machine", machine))
        system = self._markers.equal("sys_platform", platform)
        return diagram.conjoin(system, union) if union != FALSE else system


@cache
def _serves_python(filename: str, floor: Cut | None, ceiling: Cut | None) -> bool:
    """Tell whether a wheel can be used on some Python between two cuts; a tag without a meaning here can."""
    sets = tag_sets(filename)
    if sets is None:
        return False
    pythons, abis, _ = sets
    series = tuple(floor[0][:2]) if floor is not None else ()
    for tag in pythons:
        digits = tag.lstrip("abcdefghijklmnopqrstuvwxyz")
        name = tag[: len(tag) - len(digits)]
        if not digits.isdigit() or name not in ("py", "cp", "pp"):
            return True
        version = release_key((int(digits[0]), int(digits[1:] or 0)))
        if ceiling is not None and (version, 0) >= ceiling:
            continue
        if len(digits) == 1 or "abi3" in abis or "abi3t" in abis or (name == "py" and "none" in abis):
            # Later Pythons of the same major version can use it.
            if version[0] >= (*series, 0)[0]:
                return True
        elif version >= series:
            return True
    return False

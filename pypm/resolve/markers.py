"""Environment markers as nodes of a decision diagram, with what is known about real platforms.

`python_version` and `python_full_version` are one variable: the releases of Python in order, where a
pre-release counts as the end of the series before it. The other variables are compared for equality alone,
as PEP 508 has it for text; every other comparison (`in`, an ordering of `platform_release`) is a switch of
its own: sound, though blind to what two such texts have in common.

Source: PEP 508, PEP 685, PEP 751 (`extras`, `dependency_groups`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from packaging.markers import Marker
from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from pypm.resolve.diagram import FALSE, TRUE, Cut, Diagram, Variable

PYTHON: Variable = (0, "python")
TEXT_RANKS = {
    "sys_platform": 1,
    "platform_system": 2,
    "os_name": 3,
    "platform_machine": 4,
    "platform_python_implementation": 5,
    "implementation_name": 6,
}
"""Variables compared for equality; the most decisive first keeps the diagrams small."""
OPAQUE_RANK = 8
EXTRA_RANK = 9
"""`extra == 'x'`, as requirements have it."""
EXTRAS_RANK = 10
"""`'x' in extras`: an extra of the project that is locked."""
GROUPS_RANK = 11
"""`'x' in dependency_groups`."""

ALIASES = {"os.name": "os_name", "sys.platform": "sys_platform", "platform.machine": "platform_machine"}
MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
NEGATIVE = {"!=": "==", "not in": "in", "<": ">=", "<=": ">"}
POSITIVE = {positive: negative for negative, positive in NEGATIVE.items()}
SYSTEMS = {
    "Windows": "win32",
    "Darwin": "darwin",
    "Linux": "linux",
    "AIX": "aix",
    "Emscripten": "emscripten",
    "Android": "android",
}
"""Values of `platform_system` that say what a value of `sys_platform` says: they are read as that one.
FreeBSD and others are not among them, for their `sys.platform` ends with a version."""
PYTHON_PLATFORMS = ("aix", "android", "emscripten", "ios", "linux", "darwin", "win32", "cygwin", "wasi")
OTHER_SYSTEMS = ("FreeBSD", "NetBSD", "OpenBSD", "SunOS", "iOS", "iPadOS")


def release_key(release: Iterable[int]) -> tuple[int, ...]:
    """Return a release without trailing zeros, so that 3.8 and 3.8.0 are one value."""
    numbers = list(release)
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def following(release: Iterable[int]) -> tuple[int, ...]:
    """Return the first release after every release that starts with these numbers."""
    numbers = list(release)
    return release_key([*numbers[:-1], numbers[-1] + 1])


@cache
def lower_bound(specifiers: SpecifierSet | None) -> Cut | None:
    """Return the cut below which no Python is admitted; upper bounds are not looked at.

    Exclusions count where they raise the bound: `>=3.9, !=3.9.0, !=3.9.1` begins at 3.9.2.

    An upper bound in `requires-python` says what was tested when the version was released; the versions
    before it seldom have one, and honouring it makes a resolver fall back to those.
    """
    cuts: list[Cut] = []
    for specifier in specifiers or ():
        version = specifier.version.removesuffix(".*")
        try:
            key = release_key(Version(version).release)
        except InvalidVersion:
            continue
        if specifier.operator in (">=", "==", "~=", "==="):
            cuts.append((key, 0))
        elif specifier.operator == ">":
            cuts.append((key, 1))
    bound = max(cuts, default=None)
    return bound if bound is None else _above_exclusions(bound, specifiers)


def _above_exclusions(bound: Cut, specifiers: SpecifierSet | None) -> Cut:
    """Raise a bound above the releases and series that begin at it and are excluded by `!=`."""
    excluded = [specifier.version for specifier in specifiers or () if specifier.operator == "!="]
    series = {version.removesuffix(".*") for version in excluded if version.endswith(".*")}
    releases = {release_key(Version(version).release) for version in excluded if not version.endswith(".*")}
    while excluded:
        key, side = bound
        # Every release of Python has three numbers, so the first one behind a cut is known.
        major, minor, micro = (*key, 0, 0)[:3]
        first = major, minor, micro + side
        if f"{major}.{minor}" in series:
            bound = following(first[:2]), 0
        elif release_key(first) in releases:
            bound = following(first), 0
        else:
            break
    return bound


class Markers:
    """Turns markers into nodes and asks questions about them.

    With an `environment`, every platform question is answered at once and only extras and groups stay open.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.diagram = Diagram()
        self.opaque_texts: dict[str, tuple[str, str]] = {}
        """Name of a switch to its text when true and when false."""
        self._environment = environment
        self._memo: dict[Marker, int] = {}
        self._memo_by_identity: dict[int, tuple[Marker, int]] = {}
        """The marker is kept beside its node, so that nothing else ever has its identity; to hash a marker is
        to write it."""
        self._plain: dict[int, int] = {}

    def parse(self, marker: Marker | None) -> int:
        """Return the node of a marker; no marker is true everywhere."""
        if marker is None:
            return TRUE
        known = self._memo_by_identity.get(id(marker))
        if known is not None:
            return known[1]
        found = self._memo.get(marker)
        if found is None:
            found = self._memo[marker] = self._group(marker._markers)
        self._memo_by_identity[id(marker)] = marker, found
        return found

    def _group(self, items: list[Any]) -> int:
        rows: list[list[int]] = [[]]
        for item in items:
            if item == "or":
                rows.append([])
            elif item != "and":
                rows[-1].append(self._group(item) if isinstance(item, list) else self._atom(item))
        return self.diagram.any_of([self.diagram.all_of(row) for row in rows])

    def _atom(self, atom: tuple[Any, Any, Any]) -> int:
        left, operator, right = atom[0], str(atom[1].value), atom[2]
        mirrored = type(left).__name__ == "Value"
        name = str(right.value if mirrored else left.value)
        value = str(left.value if mirrored else right.value)
        name = ALIASES.get(name, name)
        if name in ("extras", "dependency_groups", "extra"):
            return self._membership(name, operator, value)
        if self._environment is not None:
            text = _atom_text(name, operator, value, mirrored=mirrored)
            return TRUE if Marker(text).evaluate({**self._environment, "extra": ""}) else FALSE
        if name in ("python_version", "python_full_version"):
            found = self._python(name, MIRRORED.get(operator, operator) if mirrored else operator, value)
            if found is not None and not (mirrored and operator in ("in", "not in")):
                return found
        elif name in TEXT_RANKS and not operator.endswith("in"):
            return self._text(name, operator, value)
        return self._opaque(name, operator, value, mirrored=mirrored)

    def _membership(self, name: str, operator: str, value: str) -> int:
        rank = {"extra": EXTRA_RANK, "extras": EXTRAS_RANK, "dependency_groups": GROUPS_RANK}[name]
        node = self.diagram.switch((rank, canonicalize_name(value)))
        return self.diagram.negate(node) if operator in ("!=", "not in") else node

    def _text(self, name: str, operator: str, value: str) -> int:
        if operator in ("<", ">"):
            return FALSE  # Text has no order here: `packaging` answers the same.
        node = self.equal(name, value)
        return self.diagram.negate(node) if operator == "!=" else node

    def equal(self, name: str, value: str) -> int:
        """Return `name == 'value'` for a variable of text."""
        if name == "platform_system" and value in SYSTEMS:
            name, value = "sys_platform", SYSTEMS[value]
        return self.diagram.interval((TEXT_RANKS[name], name), (value, 0), (value, 1))

    def _opaque(self, name: str, operator: str, value: str, *, mirrored: bool) -> int:
        positive = NEGATIVE.get(operator, operator)
        text = _atom_text(name, positive, value, mirrored=mirrored)
        negative = _atom_text(name, POSITIVE.get(positive, positive), value, mirrored=mirrored)
        self.opaque_texts[text] = (text, negative)
        node = self.diagram.switch((OPAQUE_RANK, text))
        return node if positive == operator else self.diagram.negate(node)

    def python_between(self, lower: Cut | None, upper: Cut | None) -> int:
        """Return the Pythons between two cuts."""
        return self.diagram.interval(PYTHON, lower, upper)

    def _python(self, name: str, operator: str, value: str) -> int | None:
        if operator in ("in", "not in"):
            union = FALSE
            for part in value.replace(",", " ").split():
                node = self._python(name, "==", part)
                if node is None:
                    return None
                union = self.diagram.disjoin(union, node)
            return self.diagram.negate(union) if operator == "not in" else union
        if operator == "!=":
            node = self._python(name, "==", value)
            return None if node is None else self.diagram.negate(node)
        try:
            specifier = Specifier(f"{operator}{value}")
            release = Version(specifier.version.removesuffix(".*")).release
        except (InvalidSpecifier, InvalidVersion):
            return None
        bounds = (_series_bounds if name == "python_version" else _release_bounds)(specifier, release)
        return FALSE if bounds is None else self.python_between(*bounds)

    def admits(self, requires_python: SpecifierSet) -> int:
        """Return the Pythons that a project's own `requires-python` admits, upper bounds and gaps
        included."""
        # The cut of the bound itself: between two releases that are excluded there is no third one.
        bound = lower_bound(requires_python)
        node = TRUE if bound is None else self.python_between(bound, None)
        for specifier in requires_python:
            atom = Marker(f"python_full_version {specifier.operator} '{specifier.version}'")
            node = self.diagram.conjoin(node, self.parse(atom))
        return node

    def world(self) -> int:
        """Return every environment but those that no real machine is: a POSIX `win32`, a FreeBSD `linux`."""
        impossible = [("os_name", "nt", platform) for platform in ("linux", "darwin", "ios")]
        impossible.append(("os_name", "posix", "win32"))
        impossible += [
            ("platform_system", system, platform)
            for system in OTHER_SYSTEMS
            for platform in PYTHON_PLATFORMS
            if not (platform == "ios" and system in ("iOS", "iPadOS"))
        ]
        node = TRUE
        for name, value, platform in impossible:
            pair = self.diagram.conjoin(self.equal(name, value), self.equal("sys_platform", platform))
            node = self.diagram.difference(node, pair)
        return node

    def python_floor(self, node: int) -> Cut | None:
        """Return the cut below which the node is false for every Python; None when there is none."""
        if node <= TRUE:
            return None
        variable, cuts, children = self.diagram.parts(node)
        return cuts[0] if variable == PYTHON and children[0] == FALSE else None

    def python_ceiling(self, node: int) -> Cut | None:
        """Return the cut from which on the node is false for every Python; None when there is none."""
        if node <= TRUE:
            return None
        variable, cuts, children = self.diagram.parts(node)
        return cuts[-1] if variable == PYTHON and children[-1] == FALSE else None

    def without_extras(self, node: int) -> int:
        """Return the node as it is when no `extra` is asked for."""
        found = self._plain.get(node)
        if found is None:
            found = self._plain[node] = self.diagram.assign(node, EXTRA_RANK, {})
        return found

    def with_extra(self, node: int, extra: str) -> int:
        """Return the node as it is when one `extra` is asked for."""
        return self.diagram.assign(node, EXTRA_RANK, {extra: True})


def _atom_text(name: str, operator: str, value: str, *, mirrored: bool) -> str:
    quote = '"' if "'" in value else "'"
    literal = f"{quote}{value}{quote}"
    return f"{literal} {operator} {name}" if mirrored else f"{name} {operator} {literal}"


def _release_bounds(specifier: Specifier, release: tuple[int, ...]) -> tuple[Cut | None, Cut | None] | None:
    key = release_key(release)
    operator = specifier.operator
    if operator == "~=":
        return (key, 0), (following(release[:-1]), 0)
    if specifier.version.endswith(".*"):
        return (key, 0), (following(release), 0)
    return {
        ">=": ((key, 0), None),
        ">": ((key, 1), None),
        "<": (None, (key, 0)),
        "<=": (None, (key, 1)),
        "==": ((key, 0), (key, 1)),
        "===": ((key, 0), (key, 1)),
    }[operator]


def _series_bounds(specifier: Specifier, release: tuple[int, ...]) -> tuple[Cut | None, Cut | None] | None:
    """Bounds of a `python_version` comparison: the variable has two numbers, so 3.8 stands for all of
    3.8.x."""
    operator = specifier.operator
    series = (*release, 0)[:2]
    start: Cut = (release_key(series), 0)
    end: Cut = (following(series), 0)
    exact = not any(release[2:])
    if specifier.version.endswith(".*"):
        whole: Cut = (following(release[:2]), 0)
        return (start, whole) if exact else None
    if operator == "~=":
        if len(release) > 2:
            return (start, end) if exact else None
        return start, (following(release[:1]), 0)
    if operator in ("==", "==="):
        return (start, end) if exact else None
    return {
        ">=": (start if exact else end, None),
        ">": (end, None),
        "<": (None, start if exact else end),
        "<=": (None, end),
    }[operator]

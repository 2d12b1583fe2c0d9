"""Core metadata: what a version of a package requires, from METADATA, PKG-INFO or a static `pyproject.toml`.

A header scan instead of an e-mail parser: twenty times faster, and resolution reads only seven fields. Old
releases hold specifiers that today's grammar refuses; those whose meaning is beyond doubt are repaired, as
peers repair them. Everything else is an `MetadataError`, and the resolver goes round the version.

Source: core metadata specification 2.4; PEP 440, PEP 508, PEP 621, PEP 643.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from msgspec import Struct, field
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from pypm.codec.filenames import parse_version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEPENDENCY_FIELDS = frozenset({"requires-dist", "requires-python", "provides-extra"})
"""An sdist whose `Dynamic` names one of these tells its dependencies only when it is built."""


class MetadataError(ValueError):
    """The metadata cannot be understood; the text says which field, in one clause."""


class CoreMetadata(Struct, frozen=True, kw_only=True):
    """The fields that resolution reads."""

    name: NormalizedName
    version: Version
    requires_dist: tuple[Requirement, ...] = ()
    """Shared between versions that say the same: never change one."""
    requires_python: SpecifierSet | None = None
    provides_extra: tuple[NormalizedName, ...] = ()
    dynamic: frozenset[str] = field(default_factory=frozenset)
    """Field names in lower case (PEP 643)."""
    metadata_version: tuple[int, int] = (1, 0)

    @property
    def is_static(self) -> bool:
        """Whether an sdist's metadata holds for every wheel built from it."""
        return self.metadata_version >= (2, 2) and not self.dynamic & DEPENDENCY_FIELDS


def parse_metadata(content: bytes) -> CoreMetadata:
    """Return the metadata of a METADATA or PKG-INFO file.

    Raises:
        MetadataError: name or version are missing, or a field is beyond repair.
    """
    fields = _headers(content)
    version_text = _single(fields, "version")
    version = parse_version(version_text)
    if version is None:
        raise MetadataError(f"its version `{version_text}` is not a version")
    requires_python = fields.get("requires-python", [""])[0]
    return CoreMetadata(
        name=canonicalize_name(_single(fields, "name")),
        version=version,
        requires_dist=tuple(parse_legacy_requirement(text) for text in fields.get("requires-dist", ())),
        requires_python=parse_legacy_specifier(requires_python) if requires_python else None,
        provides_extra=tuple(
            dict.fromkeys(canonicalize_name(text) for text in fields.get("provides-extra", ()))
        ),
        dynamic=frozenset(text.lower() for text in fields.get("dynamic", ())),
        metadata_version=_metadata_version(_single(fields, "metadata-version")),
    )


_WANTED = frozenset(
    {"metadata-version", "name", "version", "requires-dist", "requires-python", "provides-extra", "dynamic"}
)


def _headers(content: bytes) -> dict[str, list[str]]:
    """Return the wanted headers by lower-case name. The body begins at the first empty line."""
    fields: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in content.decode("utf-8", "replace").lstrip("\ufeff").split("\n"):
        text = line.rstrip("\r")
        if not text:
            break
        if text[0] in " \t":
            # A folded line continues the value above it.
            if current is not None:
                current[-1] = f"{current[-1]} {text.strip()}".strip()
            continue
        name, colon, value = text.partition(":")
        name = name.lower()
        current = None
        if colon and name in _WANTED:
            current = fields.setdefault(name, [])
            current.append(value.strip())
    for values in fields.values():
        values[:] = [value for value in values if value and value != "UNKNOWN"]
    return {name: values for name, values in fields.items() if values}


def _single(fields: dict[str, list[str]], name: str) -> str:
    values = fields.get(name, [])
    if len(values) != 1:
        raise MetadataError(f"it has {len(values) or 'no'} `{name.title()}` fields instead of one")
    return values[0]


def _metadata_version(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", text, re.ASCII)
    if match is None:
        raise MetadataError(f"its metadata version `{text}` is not one")
    return int(match[1]), int(match[2])


_Repair = tuple[re.Pattern[str], str]

_REPAIRS: tuple[_Repair, ...] = (
    # `>=3.6'` and `>='3.6`: quotes that belong to nothing.
    (re.compile(r"""(?<=[\d*.])['"]|['"](?=[\d*])"""), ""),
    # `>=1.0<2.0`, `>=1.0 <2.0`: a missing comma.
    (re.compile(r"(?<=[\d*])\s*(?=(?:[<>!~]=?|===?)\s*\d)"), ","),
    # `!=~4.0`: everything that begins with 4.0.
    (re.compile(r"!=~\s*(\d+(?:\.\d+)*)"), r"!=\1.*"),
    # `==1.2*`: a missing dot.
    (re.compile(r"(?<=\d\.\d)\*"), ".*"),
    # `>=1.0.*`: a wildcard where the order makes it say nothing.
    (re.compile(r"([<>]=?|~=)(\s*)(\d+(?:\.\d+)*)\.\*"), r"\1\2\3"),
    # `>=*`: any version.
    (re.compile(r">=\s*\*"), ">=0"),
    # `>=1.0,)` and `>=1.0,`: a comma too many; `>=3.6,,<4` as well.
    (re.compile(r",(?:\s*,)+"), ","),
    (re.compile(r",\s*(?=\)|;|$)"), ""),
    # `>=1.0.` and `>=1.0.,<2`: a dot too many.
    (re.compile(r"(?<=\d)\.(?=\s*(?:[,);]|$))"), ""),
)
"""Each repairs one way in which old releases miss the grammar. Applied in order, only when the text as it
stands is refused, and the marker behind `;` is never touched."""


@lru_cache(maxsize=1 << 14)
def parse_legacy_requirement(text: str) -> Requirement:
    """Return a requirement of a published release, repaired where that is beyond doubt.

    Raises:
        MetadataError: it is not a requirement, even repaired.
    """
    requirement = _parse(Requirement, text, InvalidRequirement)
    if requirement is None:
        specification, semicolon, marker = text.partition(";")
        for candidate in _repairs(specification):
            requirement = _parse(Requirement, candidate + semicolon + marker, InvalidRequirement)
            if requirement is not None:
                break
    if requirement is None:
        raise MetadataError(f"its requirement `{text}` cannot be understood")
    return requirement


@lru_cache(maxsize=4096)
def parse_legacy_specifier(text: str) -> SpecifierSet:
    """Return a `Requires-Python` of a published release, repaired where that is beyond doubt.

    Raises:
        MetadataError: it is not a specifier, even repaired.
    """
    for candidate in (text, *_repairs(text)):
        specifier = _parse(SpecifierSet, candidate, InvalidSpecifier)
        if specifier is not None:
            return specifier
    raise MetadataError(f"its Python requirement `{text}` cannot be understood")


_Parsed = TypeVar("_Parsed")


_LONGEST_CHARACTERS = 10_000
"""Of one requirement; the longest that is published has about a thousand."""
_ENDLESS = re.compile(r"\d{100}")
"""A number that no version has; Python does not read one of some thousands of digits, and says so late."""


def _parse(kind: Callable[[str], _Parsed], text: str, refusal: type[ValueError]) -> _Parsed | None:
    """Return what `kind` makes of foreign text, or None; also for what would take it past every bound."""
    if len(text) > _LONGEST_CHARACTERS or _ENDLESS.search(text):
        return None
    try:
        return kind(text)
    except (refusal, RecursionError):
        return None


def _repairs(text: str) -> list[str]:
    """Return the text after one repair, after two, and so on; only the steps that changed something."""
    steps: list[str] = []
    if len(text) > _LONGEST_CHARACTERS:
        return steps
    for pattern, replacement in _REPAIRS:
        repaired = pattern.sub(replacement, text)
        if repaired != text:
            steps.append(repaired)
            text = repaired
    return steps


def static_metadata(pyproject: bytes, *, version: Version | None = None) -> CoreMetadata | None:
    """Return what a `pyproject.toml` says of its dependencies, or None when only a build would tell.

    `version` is used where the project's own is dynamic: that of the sdist's file name. Optional dependencies
    become requirements under `extra == "..."`, as a backend would write them.

    Source: PEP 621, "Dynamic".
    """
    try:
        project = tomllib.loads(pyproject.decode("utf-8")).get("project")
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    if not isinstance(project, dict) or not isinstance(project.get("name"), str):
        return None
    dynamic = project.get("dynamic", [])
    if not isinstance(dynamic, list) or {"dependencies", "optional-dependencies", "requires-python"} & {
        item for item in dynamic if isinstance(item, str)
    }:
        return None
    if isinstance(project.get("version"), str):
        version = parse_version(project["version"])
    if version is None:
        return None
    try:
        return _from_table(project, version)
    except (MetadataError, ValueError, RecursionError, TypeError, AttributeError):
        return None


def _from_table(project: dict[str, Any], version: Version) -> CoreMetadata:
    requirements = [Requirement(text) for text in project.get("dependencies", [])]
    extras: list[NormalizedName] = []
    for extra, texts in project.get("optional-dependencies", {}).items():
        extras.append(canonicalize_name(extra))
        requirements += [_under_extra(text, extras[-1]) for text in texts]
    requires_python = project.get("requires-python")
    return CoreMetadata(
        name=canonicalize_name(project["name"]),
        version=version,
        requires_dist=tuple(requirements),
        requires_python=None if requires_python is None else SpecifierSet(requires_python),
        provides_extra=tuple(extras),
        metadata_version=(2, 2),
    )


def _under_extra(text: str, extra: NormalizedName) -> Requirement:
    plain = Requirement(text)
    condition = f'extra == "{extra}"'
    marker = f"({plain.marker}) and {condition}" if plain.marker else condition
    plain.marker = None
    separator = " ; " if plain.url else "; "
    return Requirement(f"{plain}{separator}{marker}")

"""`[tool.pypm]`: what steers resolution, where packages come from, and the tables that other rooms own.

A key that is not known is an error with the nearest known one: a misspelt security setting must not be a
setting that is silently off.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, cast

from msgspec import Struct
from packaging.requirements import Requirement
from packaging.utils import NormalizedName

from pypm.codec.places import parse_indexes, parse_sources
from pypm.codec.shape import Table, describe, suggestion
from pypm.model.project import PRERELEASES, STRATEGIES, Index, ResolutionSettings, Source

_RESOLUTION_KEYS = (
    "constraints", "overrides", "exclusions", "environments", "required-environments", "conflicts",
    "resolution", "prerelease", "exclude-newer", "exclude-newer-package", "no-build", "no-build-package",
    "no-binary", "no-binary-package",
)  # fmt: skip
_OTHER_ROOMS_KEYS = ("allow-startup-code", "plugins", "signing", "workspace")
_OWN_KEYS = ("default-groups", "index", "package", "sandbox", "sources")
KEYS = (*_RESOLUTION_KEYS, *_OTHER_ROOMS_KEYS, *_OWN_KEYS)
"""Everything that `[tool.pypm]` may hold."""

_CALLED_ELSEWHERE = {
    "constraint-dependencies": "constraints",
    "override-dependencies": "overrides",
    "exclude-dependencies": "exclusions",
    "indexes": "index",
    "source": "sources",
    "default-group": "default-groups",
    "strategy": "resolution",
    "no-build-isolation": "sandbox",
}
_USERS_KEYS = ("build-signing-key", "cache-dir", "default-index", "offline", "python")
"""These are the user's to decide: a project must not choose them for those who check it out."""

DATE_LIMITS = "a date (`2026-01-31`), a time in UTC nor a duration (`7 days`)"
"""What a date limit can be, behind "neither"."""

_DURATION = re.compile(
    r"\s*\d{1,4}\s*(second|minute|hour|day|week|month|year)s?\s*"
    r"|P(?=.)(\d{1,4}[YMWD]){0,4}(T(\d{1,4}[HMS]){1,3})?"
)


class ToolSettings(Struct, frozen=True, kw_only=True):
    """`[tool.pypm]`, read."""

    indexes: tuple[Index, ...]
    sources: Mapping[NormalizedName, tuple[Source, ...]]
    resolution: ResolutionSettings
    default_groups: tuple[NormalizedName, ...]
    package: bool | None
    """None where nothing is said: a project with a `[build-system]` is a package."""
    sandbox: Mapping[str, Any]
    rest: Mapping[str, Any]
    """The tables and values of other rooms, as written."""


def parse_settings(
    table: Table, *, extras: Collection[NormalizedName], groups: Collection[NormalizedName]
) -> ToolSettings:
    """Read `[tool.pypm]`; `extras` and `groups` are those of the project, which settings refer to."""
    table.close(KEYS, _explain_unknown)
    indexes = parse_indexes(table)
    return ToolSettings(
        indexes=indexes,
        sources=parse_sources(table.table("sources"), indexes),
        resolution=_resolution(table, extras, groups),
        default_groups=_default_groups(table, groups),
        package=table.get("package", bool, False) if "package" in table else None,
        sandbox=MappingProxyType(table.table("sandbox").values),
        rest=MappingProxyType({key: table.values[key] for key in _OTHER_ROOMS_KEYS if key in table}),
    )


def _explain_unknown(key: str) -> str | None:
    if key in _USERS_KEYS:
        return "this is for the user to decide; write it to the user's `pypm.toml`"
    if key in _CALLED_ELSEWHERE:
        return f"it is called `{_CALLED_ELSEWHERE[key]}` here"
    return None


def _resolution(
    table: Table, extras: Collection[NormalizedName], groups: Collection[NormalizedName]
) -> ResolutionSettings:
    return ResolutionSettings(
        strategy=cast(Any, table.choice("resolution", STRATEGIES, "highest")),
        prerelease=cast(Any, table.choice("prerelease", PRERELEASES, "if-necessary")),
        exclude_newer=_date_limit(table, "exclude-newer"),
        exclude_newer_package=_date_limits(table.table("exclude-newer-package")),
        constraints=_conditions(table, "constraints"),
        overrides=_conditions(table, "overrides"),
        exclusions=table.names("exclusions"),
        environments=table.markers("environments"),
        required_environments=table.markers("required-environments"),
        conflicts=_conflicts(table, extras, groups),
        no_build=table.get("no-build", bool, False),
        no_build_package=table.names("no-build-package"),
        no_binary=table.get("no-binary", bool, False),
        no_binary_package=table.names("no-binary-package"),
    )


def _conditions(table: Table, key: str) -> tuple[Requirement, ...]:
    requirements = table.requirements(key)
    for requirement in requirements:
        if key == "constraints" and requirement.extras:
            table.add(key, f"`{requirement}`: a constraint limits versions and cannot ask for extras")
    return requirements


def _date_limit(table: Table, key: str) -> str | None:
    value = table.values.get(key)
    if value is None:
        return None
    if isinstance(value, datetime.date):  # A TOML date or time; `datetime` is a `date` too.
        return value.isoformat()
    if type(value) is not str:
        table.add(key, f"must be a date, a time or a duration, not {describe(value)}")
        return None
    if is_date_limit(value):
        return value.strip()
    table.add(key, f"`{value}` is neither {DATE_LIMITS}")
    return None


def is_date_limit(text: str) -> bool:
    """Whether a text is something that `exclude-newer` can be: one of `DATE_LIMITS`."""
    return _DURATION.fullmatch(text) is not None or _is_date(text)


def _is_date(text: str) -> bool:
    try:
        # Python 3.10 does not read the `Z` that RFC 3339 times usually end with.
        datetime.datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", text.strip()))
    except ValueError:
        return False
    return True


def _date_limits(table: Table) -> Mapping[NormalizedName, str | None]:
    """Return the limits of single packages; `false` lifts the limit for one."""
    limits: dict[NormalizedName, str | None] = {}
    for key, value in table.values.items():
        name, limit = table.name(key, table.at(key)), None if value is False else _date_limit(table, key)
        if name is not None and (limit is not None or value is False):
            limits[name] = limit
    return MappingProxyType(limits)


def _default_groups(table: Table, groups: Collection[NormalizedName]) -> tuple[NormalizedName, ...]:
    value = table.values.get("default-groups")
    if value is None:
        return tuple(name for name in groups if name == "dev")
    if value == "all":
        return tuple(sorted(groups))
    names = table.names("default-groups")
    for name in names:
        if name not in groups:
            table.add("default-groups", f"there is no group `{name}`{suggestion(name, groups)}")
    return names


def _conflicts(
    table: Table, extras: Collection[NormalizedName], groups: Collection[NormalizedName]
) -> tuple[tuple[str, ...], ...]:
    conflicts = []
    for index, entries in enumerate(table.get("conflicts", list, [])):
        path = f"{table.at('conflicts')}[{index}]"
        if type(entries) is not list:
            table.problems.add(path, f"must be a list of tables, not {describe(entries)}")
            continue
        members = set()
        for member in Table({"": entries}, path, table.problems).tables(""):
            member.path = member.path.replace(f"{path}.", path)
            members.add(_conflict_member(member, extras, groups))
        found = tuple(sorted(member for member in members if member))
        if len(found) < 2 and len(members) == len(found):
            table.problems.add(path, "must name at least two extras or groups")
        conflicts.append(found)
    return tuple(sorted(conflicts))


def _conflict_member(
    member: Table, extras: Collection[NormalizedName], groups: Collection[NormalizedName]
) -> str | None:
    member.close(("extra", "group"))
    if len(member.values) != 1:
        member.problems.add(member.path, "must be `{ extra = ... }` or `{ group = ... }`")
        return None
    kind, known = ("extra", extras) if "extra" in member else ("group", groups)
    text = member.text(kind)
    name = None if text is None else member.name(text, member.at(kind))
    if name is None:
        return None
    if name not in known:
        member.add(kind, f"there is no {kind} `{name}`{suggestion(name, known)}")
    return f"{kind}:{name}"

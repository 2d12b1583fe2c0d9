"""`[dependency-groups]` with `include-group` expanded (PEP 735)."""

from __future__ import annotations

from packaging.requirements import Requirement
from packaging.utils import NormalizedName

from pypm.codec.shape import Table, describe, suggestion

_Entry = tuple[str, Requirement | NormalizedName]
"""A requirement, or the name of an included group, with its path."""


def parse_groups(table: Table) -> dict[NormalizedName, tuple[Requirement, ...]]:
    """Return every group's requirements, includes where they stand; problems are noted in `table`."""
    entries: dict[NormalizedName, list[_Entry]] = {}
    for key in table.values:
        name = table.name(key, table.at(key))
        if name in entries:
            table.add(key, f"the group `{name}` is defined twice (names are compared in normalised form)")
        elif name is not None:
            entries[name] = _entries(table, key)
    expanded: dict[NormalizedName, tuple[Requirement, ...]] = {}
    for name in entries:
        _expand(name, (), entries, expanded, table)
    return expanded


def _entries(table: Table, key: str) -> list[_Entry]:
    entries: list[_Entry] = []
    for index, value in enumerate(table.get(key, list, [])):
        where = f"{table.at(key)}[{index}]"
        if type(value) is str:
            if requirement := table.requirement(value, where):
                entries.append((where, requirement))
        elif type(value) is dict:
            include = Table(value, where, table.problems)
            include.close(("include-group",))
            text = include.text("include-group")
            if text is not None and (name := table.name(text, where)):
                entries.append((where, name))
        else:
            table.problems.add(
                where, f"must be a requirement or `{{ include-group = ... }}`, not {describe(value)}"
            )
    return entries


def _expand(
    name: NormalizedName,
    parents: tuple[NormalizedName, ...],
    entries: dict[NormalizedName, list[_Entry]],
    expanded: dict[NormalizedName, tuple[Requirement, ...]],
    table: Table,
) -> tuple[Requirement, ...]:
    if name in expanded:
        return expanded[name]
    requirements: list[Requirement] = []
    for where, entry in entries[name]:
        if isinstance(entry, Requirement):
            requirements.append(entry)
        elif entry == name or entry in parents:
            circle = [*parents, name, entry]
            circle = circle[circle.index(entry) :]
            table.problems.add(where, f"groups include each other in a circle: {' -> '.join(circle)}")
        elif entry not in entries:
            table.problems.add(where, f"there is no group `{entry}`{suggestion(entry, entries)}")
        else:
            requirements += _expand(entry, (*parents, name), entries, expanded, table)
    expanded[name] = tuple(requirements)
    return expanded[name]

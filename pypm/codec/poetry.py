"""Poetry's own dialect of requirements, translated into the standard one.

Source: Poetry's documentation of `pyproject.toml` and of dependency specification; PEP 440, PEP 508.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

Note = Callable[[str], None]

_CLAUSE = re.compile(r"(\^|~=|~|===|==|!=|>=|<=|>|<|=)?\s*([^\s,<>=!~^]+)")
_SOURCE_KEYS = ("git", "branch", "tag", "rev", "subdirectory", "path", "url")
_KNOWN_KEYS = {*_SOURCE_KEYS, *("version", "extras", "optional", "python", "markers", "platform")} | {
    *("source", "develop")
}


def specifiers(text: str) -> str:
    """Return a version constraint in the standard notation.

    Raises:
        ValueError: it has no equivalent: alternatives (`||`), or no version.
    """
    if "|" in text:
        raise ValueError("alternatives have no equivalent")
    joined = ",".join(filter(None, (_clause(*match.groups()) for match in _CLAUSE.finditer(text))))
    try:
        return str(SpecifierSet(joined))
    except InvalidSpecifier as error:
        raise ValueError(str(error)) from error


def _clause(operator: str | None, version: str) -> str:
    if version == "*":
        return ""
    if operator in (None, "="):
        operator = "=="
    if operator not in ("^", "~"):
        return f"{operator}{version}"
    try:
        release = Version(version).release
    except InvalidVersion as error:
        raise ValueError(str(error)) from error
    return f">={version},<{_upper(release, caret=operator == '^')}"


def _upper(release: tuple[int, ...], *, caret: bool) -> str:
    """The first version that is not meant: `^` keeps the first number that is not zero, `~` the minor one."""
    if caret:
        kept = next((place for place, number in enumerate(release) if number), len(release) - 1)
    else:
        kept = min(1, len(release) - 1)
    return ".".join(str(number) for number in (*release[:kept], release[kept] + 1))


def requirements(name: str, value: Any, note: Note) -> tuple[list[str], list[dict[str, Any]]]:
    """Return what a dependency asks for, and its entries for `[tool.pypm.sources]`."""
    texts: list[str] = []
    sources: list[dict[str, Any]] = []
    for entry in value if isinstance(value, list) else [value]:
        table: Mapping[str, Any] = {"version": entry} if isinstance(entry, str) else entry
        for key in sorted(set(table) - _KNOWN_KEYS):
            note(f"`{key}` of `{name}` has no equivalent")
        marker = _marker(name, table, note)
        texts.append(_requirement(name, table, marker, note))
        source = _source(table)
        if source:
            sources.append({**source, "marker": marker} if marker and isinstance(value, list) else source)
    return texts, sources


def _requirement(name: str, table: Mapping[str, Any], marker: str, note: Note) -> str:
    version = str(table.get("version", "*"))
    try:
        wanted = specifiers(version)
    except ValueError:
        note(f'`{name} = "{version}"` has no equivalent: any version is admitted')
        wanted = ""
    extras = f"[{','.join(table['extras'])}]" if table.get("extras") else ""
    return f"{name}{extras}{wanted}" + (f"; {marker}" if marker else "")


def _marker(name: str, table: Mapping[str, Any], note: Note) -> str:
    parts = []
    if "python" in table:
        try:
            parts += [
                f"{_python_variable(clause.version)} {clause.operator} '{clause.version}'"
                for clause in sorted(SpecifierSet(specifiers(str(table["python"]))), key=str, reverse=True)
            ]
        except ValueError:
            note(f'`python = "{table["python"]}"` of `{name}` has no equivalent: any Python is admitted')
    if "platform" in table:
        parts.append(f"sys_platform == '{table['platform']}'")
    if "markers" in table:
        text = str(table["markers"])
        parts.append(f"({text})" if parts and " or " in text else text)
    return " and ".join(parts)


def _python_variable(version: str) -> str:
    return "python_full_version" if version.count(".") >= 2 and "*" not in version else "python_version"


def _source(table: Mapping[str, Any]) -> dict[str, Any]:
    source = {key: str(table[key]) for key in _SOURCE_KEYS if key in table}
    if "source" in table:
        source["index"] = str(table["source"])
    if table.get("develop"):
        return {**source, "editable": True}
    return source

"""`[tool.pypm] plugins`: which plugins a project uses, what it grants them, and their own options.

plugins = ["auditwheel"]                    # with nothing granted and no options

[tool.pypm.plugins.auditwheel]              # or a table each
allow-read = ["packages"]
strict = true
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from packaging.utils import InvalidName, NormalizedName, canonicalize_name

from pypm.errors import ConfigurationError
from pypm.isolation import Boundary
from pypm.isolation.values import (
    MalformedError,
    parse_duration,
    parse_host,
    parse_path,
    parse_size,
    parse_variable,
)
from pypm.plugins.found import normal_name
from pypm.plugins.permissions import PACKAGES, PROJECT, Grants

TABLE = "tool.pypm.plugins"
OWN_KEYS = ("allow-net", "allow-read", "allow-env", "timeout", "memory", "package")
"""These are pypm's; every other key is an option of the plugin."""

MEMORY_BYTES = 1 << 30


class Enabled(Struct, frozen=True, kw_only=True):
    """One plugin that the project uses."""

    name: str
    grants: Grants = field(default_factory=Grants)
    options: tuple[tuple[str, str], ...] = ()
    """Key and value as the plugin sees them."""
    timeout_seconds: float | None = None
    """Of one hook call; None: the stage's own."""
    memory_bytes: int = MEMORY_BYTES
    """Address space of the host."""
    package: NormalizedName | None = None
    """The locked package that brings the plugin; None: it is looked for in the folders."""


def parse_plugins(value: object, boundary: Boundary) -> tuple[Enabled, ...]:
    """Read `tool.pypm.plugins`, in the order written, which is the order of the calls.

    Raises: ConfigurationError that lists every problem.
    """
    problems: list[str] = []
    tables: dict[str, Any] = {}
    if isinstance(value, Mapping):
        tables = dict(value)
    elif isinstance(value, list | tuple):
        tables = {name if isinstance(name, str) else repr(name): {} for name in value}
    elif value is not None:
        problems.append(f"`{TABLE}` must be a list of names, or a table for each plugin")
    enabled: list[Enabled] = []
    for name, table in tables.items():
        where = f"{TABLE}.{name}"
        try:
            normal = normal_name(name)
        except ConfigurationError as error:
            problems.append(error.message)
            continue
        if not isinstance(table, Mapping):
            problems.append(f"`{where}` must be a table")
        elif any(normal == other.name for other in enabled):
            problems.append(f"`{where}` is named twice")
        else:
            enabled.append(_Reader(where, boundary, problems).read(normal, table))
    if problems:
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigurationError(
            f"`{TABLE}` has {count}", reference="invalid-plugin-settings", details=tuple(problems)
        )
    return tuple(enabled)


class _Reader:
    """Reads one plugin's table, collecting problems."""

    def __init__(self, where: str, boundary: Boundary, problems: list[str]) -> None:
        self._where = where
        self._boundary = boundary
        self._problems = problems

    def read(self, name: str, table: Mapping[str, Any]) -> Enabled:
        values: dict[str, Any] = {"timeout": None, "memory": MEMORY_BYTES, "package": None}
        grants: dict[str, Any] = {}
        for key in OWN_KEYS:
            if key not in table:
                continue
            try:
                if key == "allow-net":
                    grants["hosts"] = tuple(parse_host(item) for item in _list(table[key]))
                elif key == "allow-env":
                    grants["variables"] = tuple(parse_variable(item) for item in _list(table[key]))
                elif key == "allow-read":
                    grants.update(self._readable(_list(table[key])))
                else:
                    values[key] = _PARSERS[key](table[key])
            except MalformedError as problem:
                self._problems.append(f"`{self._where}.{key}` {problem}")
        return Enabled(
            name=name,
            grants=Grants(**grants),
            options=tuple(sorted(self._options(table), key=lambda pair: pair[0])),
            timeout_seconds=values["timeout"],
            memory_bytes=values["memory"],
            package=values["package"],
        )

    def _readable(self, items: list[Any]) -> dict[str, Any]:
        base = self._boundary.root or self._boundary.home
        paths: list[Path] = []
        for item in items:
            if item not in (PROJECT, PACKAGES):
                path = parse_path(item, base=base, home=self._boundary.home)
                self._boundary.check(path, writable=False)
                paths.append(path.resolve() if ".." in path.parts else path)
        return {"paths": tuple(paths), PROJECT: PROJECT in items, PACKAGES: PACKAGES in items}

    def _options(self, table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
        for key, value in table.items():
            if not prefix and key in OWN_KEYS:
                continue
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, Mapping):
                    yield from self._options(item, f"{prefix}{key}.")
                elif isinstance(item, list):
                    self._problems.append(f"`{self._where}.{prefix}{key}` must not be a list of lists")
                else:
                    yield f"{prefix}{key}", _option_text(item)


def _parse_package(value: object) -> NormalizedName:
    try:
        return canonicalize_name(str(value), validate=True)
    except InvalidName as error:
        raise MalformedError("must name a package") from error


_PARSERS: Mapping[str, Callable[[object], Any]] = {
    "timeout": parse_duration,
    "memory": parse_size,
    "package": _parse_package,
}


def _option_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedError("must be a list")
    return value

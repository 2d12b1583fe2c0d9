"""`[tool.pypm.sandbox]` and the flags of the same names: options out of plain data.

Every problem is reported at once, each by the path of its key (`tool.pypm.sandbox.run.memory`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from pypm.errors import ConfigurationError, UsageError
from pypm.isolation.boundary import Boundary
from pypm.isolation.options import RunOptions, merge
from pypm.isolation.values import (
    MalformedError,
    parse_device,
    parse_duration,
    parse_host,
    parse_path,
    parse_size,
    parse_variable,
)
from sandbox import Guarantee, Isolation

TABLE = "tool.pypm.sandbox"
PROFILES = ("run", "shell", "build", "hook")
"""Profiles that exist without being written; every other table below `sandbox` is a named profile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole table, checked."""

    base: RunOptions
    """What stands beside the profiles: `require` and `isolation`, which hold for all of them."""
    profiles: Mapping[str, RunOptions]

    def profile(self, name: str) -> RunOptions:
        """Give a profile by name, on top of what holds for all of them.

        Raises: UsageError for a profile that is neither built in nor written.
        """
        if name not in self.profiles:
            near = _nearest(name, self.profiles)
            raise UsageError(
                f"there is no sandbox profile `{name}`",
                reference="unknown-profile",
                hint=f"did you mean `{near}`?" if near else f"write it as `[{TABLE}.{name}]`",
            )
        return merge(self.base, self.profiles[name])


def parse_settings(table: Mapping[str, Any], boundary: Boundary) -> Settings:
    """Read `[tool.pypm.sandbox]`; relative paths start at the project's root.

    Grants and limits belong to a profile, never to the table itself: a grant that a run needs should not
    silently hold for builds and hooks too.

    Raises: ConfigurationError that lists every problem.
    """
    reader = _Reader(
        boundary=boundary, base=boundary.root or boundary.home, prefix=f"{TABLE}.", is_project=True
    )
    profiles = dict.fromkeys(PROFILES, RunOptions())
    shared: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            profiles[key] = reader.options(value, within=f"{key}.")
        elif key in ("require", "isolation"):
            shared[key] = value
        elif key in _KEYS:
            reader.problems.append(f"`{TABLE}.{key}` belongs into a profile, such as `[{TABLE}.run]`")
        else:
            reader.unknown(key, (*_KEYS, *PROFILES))
    base = reader.options(shared)
    if reader.problems:
        raise ConfigurationError(
            f"`[{TABLE}]` has {_count(reader.problems)}",
            reference="invalid-sandbox-settings",
            details=tuple(reader.problems),
        )
    return Settings(base=base, profiles=profiles)


def parse_flags(flags: Mapping[str, Any], boundary: Boundary, *, working_directory: Path) -> RunOptions:
    """Read the sandbox flags of a command; keys are their names without dashes, lists may be tuples.

    Flags that were not given are absent or None. Relative paths start at `working_directory`.

    Raises: UsageError.
    """
    given = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in flags.items()
        if value is not None and value != ()
    }
    reader = _Reader(boundary=boundary, base=working_directory, prefix="--", is_project=False)
    options = reader.options(given)
    if reader.problems:
        first, *others = reader.problems
        raise UsageError(first, reference="invalid-sandbox-option", details=tuple(others))
    return options


@dataclass(slots=True, kw_only=True)
class _Reader:
    """Reads tables of one place, collecting problems instead of stopping at the first."""

    boundary: Boundary
    base: Path
    prefix: str
    is_project: bool
    """Whether the project wrote this, which may have been cloned and never read, or its user."""
    problems: list[str] = field(default_factory=list)

    def options(self, table: Mapping[str, Any], *, within: str = "") -> RunOptions:
        fields: dict[str, Any] = {}
        for key, value in table.items():
            reads = _KEYS.get(key)
            if reads is None:
                self.unknown(within + key, tuple(within + known for known in _KEYS))
                continue
            try:
                fields.update(reads(self, value))
            except MalformedError as problem:
                self.problems.append(f"`{self.prefix}{within}{key}` {problem}")
        return RunOptions(**fields)

    def unknown(self, key: str, known: tuple[str, ...]) -> None:
        near = _nearest(key, known)
        mend = f"; did you mean `{self.prefix}{near}`?" if near else ""
        self.problems.append(f"`{self.prefix}{key}` is not known{mend}")

    def paths(self, value: object, *, writable: bool) -> tuple[Path, ...]:
        found: list[Path] = []
        problems: list[str] = []
        for item in _list(value):
            try:
                path = parse_path(item, base=self.base, home=self.boundary.home)
                self.boundary.check(path, writable=writable)
            except MalformedError as problem:
                problems.append(str(problem))
                continue
            # A `..` is resolved only now, through links as the kernel would; a lexical one could lie.
            found.append(path.resolve() if ".." in path.parts else path)
        if problems:
            raise MalformedError("; it ".join(problems))
        return tuple(found)


def _network(_: _Reader, value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"allow_all_net": value}
    hosts = tuple(dict.fromkeys(parse_host(item) for item in _list(value)))
    return {"allow_net": hosts}


def _readable(reader: _Reader, value: object) -> dict[str, Any]:
    return {"allow_read": reader.paths(value, writable=False)}


def _writable(reader: _Reader, value: object) -> dict[str, Any]:
    return {"allow_write": reader.paths(value, writable=True)}


def _variables(_: _Reader, value: object) -> dict[str, Any]:
    return {"allow_env": tuple(dict.fromkeys(parse_variable(item) for item in _list(value)))}


def _devices(_: _Reader, value: object) -> dict[str, Any]:
    return {"allow_device": tuple(dict.fromkeys(parse_device(item) for item in _list(value)))}


def _memory(_: _Reader, value: object) -> dict[str, Any]:
    return {"memory_bytes": parse_size(value)}


def _cpus(_: _Reader, value: object) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1 << 16:
        raise MalformedError("must be a number of processors above zero")
    return {"cpus": float(value)}


def _pids(_: _Reader, value: object) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise MalformedError("must be a whole number of processes above zero")
    return {"pids": value}


def _timeout(_: _Reader, value: object) -> dict[str, Any]:
    return {"timeout_seconds": parse_duration(value)}


def _cpu_time(_: _Reader, value: object) -> dict[str, Any]:
    return {"cpu_seconds": max(1, ceil(parse_duration(value)))}


def _file_size(_: _Reader, value: object) -> dict[str, Any]:
    return {"file_size_bytes": parse_size(value)}


def _tmp_size(_: _Reader, value: object) -> dict[str, Any]:
    return {"tmp_size_bytes": parse_size(value)}


def _output(_: _Reader, value: object) -> dict[str, Any]:
    return {"output_bytes": parse_size(value)}


def _read_only(_: _Reader, value: object) -> dict[str, Any]:
    if not isinstance(value, bool):
        raise MalformedError("must be true or false")
    return {"read_only": value}


def _require(_: _Reader, value: object) -> dict[str, Any]:
    known = {item.value: item for item in Guarantee}
    for name in _list(value):
        if name not in known:
            raise MalformedError(f"knows no `{name}`; it can be any of {_choices(known)}")
    return {"require": tuple(dict.fromkeys(known[name] for name in _list(value)))}


def _isolation(reader: _Reader, value: object) -> dict[str, Any]:
    known = {item.value: item for item in Isolation}
    if not isinstance(value, str) or value not in known:
        raise MalformedError(f"must be one of {_choices(known)}")
    if known[value] is Isolation.NONE and reader.is_project:
        # Whoever clones a project has not read it: what it brings may not choose to run outside a sandbox.
        raise MalformedError(
            "cannot be `none`: a project does not take the sandbox away; its user can, "
            "by `--isolation none`, `PYPM_ISOLATION` or `isolation` in their own `pypm.toml`"
        )
    return {"isolation": known[value]}


_KEYS: Mapping[str, Callable[[_Reader, object], dict[str, Any]]] = {
    "allow-net": _network,
    "allow-read": _readable,
    "allow-write": _writable,
    "allow-env": _variables,
    "allow-device": _devices,
    "memory": _memory,
    "cpus": _cpus,
    "pids": _pids,
    "timeout": _timeout,
    "cpu-time": _cpu_time,
    "file-size": _file_size,
    "tmp-size": _tmp_size,
    "output": _output,
    "read-only": _read_only,
    "require": _require,
    "isolation": _isolation,
}


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedError("must be a list")
    return value


def _nearest(name: str, known: Mapping[str, Any] | tuple[str, ...]) -> str | None:
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def _choices(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _count(problems: list[str]) -> str:
    return "a problem" if len(problems) == 1 else f"{len(problems)} problems"

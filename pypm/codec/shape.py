"""Reading untyped tables field by field, collecting every problem with the path of its place.

A reader asks a `Table` for what it expects; what does not fit is noted and a harmless value returned, so that
one pass finds all problems. `Problems.raise_if_any` ends the pass.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import Requirement
from packaging.utils import InvalidName, NormalizedName, canonicalize_name

from pypm.codec.requirements import parse_requirement
from pypm.errors import ConfigurationError

_T = TypeVar("_T")

_TYPE_NAMES = {str: "text", bool: "`true` or `false`", int: "a whole number", list: "a list", dict: "a table"}


class Problems:
    """What is wrong in one file, in the order in which it was found."""

    def __init__(self, file_name: str) -> None:
        self.file_name = file_name
        self.found: list[str] = []

    def add(self, path: str, problem: str) -> None:
        """Note a problem of the place `path` (`project.dependencies[3]`)."""
        self.found.append(f"`{path}`: {problem}" if path else problem)

    def raise_if_any(self) -> None:
        """End the pass.

        Raises:
            ConfigurationError: something was noted; `details` hold all of it.
        """
        if not self.found:
            return
        count = "a problem" if len(self.found) == 1 else f"{len(self.found)} problems"
        raise ConfigurationError(
            f"`{self.file_name}` has {count}", reference="invalid-configuration", details=tuple(self.found)
        )


class Table:
    """A TOML table at a path."""

    def __init__(self, values: Mapping[str, Any], path: str, problems: Problems) -> None:
        self.values = values
        self.path = path
        self.problems = problems

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def at(self, key: str) -> str:
        """Return the path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def add(self, key: str, problem: str) -> None:
        """Note a problem of a key."""
        self.problems.add(self.at(key), problem)

    def get(self, key: str, expected: type[_T], default: _T) -> _T:
        """Return the value of a key when it has the expected type, else `default`."""
        value = self.values.get(key, default)
        if key in self.values and type(value) is not expected:
            self.add(key, f"must be {_TYPE_NAMES[expected]}, not {describe(value)}")
            return default
        return value  # type: ignore[no-any-return]

    def text(self, key: str) -> str | None:
        """Return a text, or None where there is none."""
        value = self.get(key, str, "")
        return value if type(self.values.get(key)) is str else None

    def choice(self, key: str, choices: Collection[str], default: str) -> str:
        """Return one of `choices`."""
        value = self.get(key, str, default)
        if value not in choices:
            self.add(key, f"must be one of {listing(choices)}, not `{value}`{suggestion(value, choices)}")
            return default
        return value

    def texts(self, key: str) -> list[tuple[str, str]]:
        """Return a list of texts, each with its path."""
        pairs = []
        for index, value in enumerate(self.get(key, list, [])):
            where = f"{self.at(key)}[{index}]"
            if type(value) is str:
                pairs.append((where, value))
            else:
                self.problems.add(where, f"must be text, not {describe(value)}")
        return pairs

    def names(self, key: str) -> tuple[NormalizedName, ...]:
        """Return a list of package names, normalised and sorted."""
        return tuple(sorted({name for where, text in self.texts(key) if (name := self.name(text, where))}))

    def name(self, text: str, where: str) -> NormalizedName | None:
        """Return a package, extra or group name in its normalised form, or None after noting a problem."""
        try:
            return canonicalize_name(text, validate=True)
        except InvalidName:
            self.problems.add(where, f"`{text}` is not a name: use letters, digits, `-`, `_` and `.`")
            return None

    def requirements(self, key: str) -> tuple[Requirement, ...]:
        """Return a list of requirements in the order written."""
        return tuple(found for where, text in self.texts(key) if (found := self.requirement(text, where)))

    def requirement(self, text: str, where: str) -> Requirement | None:
        """Return a requirement, or None after noting a problem with its caret and hint."""
        try:
            return parse_requirement(text, where=where)
        except ConfigurationError as error:
            lines = [error.message, *(f"    {line}" for line in error.details)]
            if error.hint:
                lines.append(f"    hint: {error.hint}")
            self.problems.found.append("\n".join(lines))
            return None

    def markers(self, key: str) -> tuple[Marker, ...]:
        """Return a list of environment markers; a single text stands for a list of one."""
        value = self.values.get(key)
        texts = [(self.at(key), value)] if type(value) is str else self.texts(key)
        return tuple(found for where, text in texts if (found := self.marker(text, where)))

    def marker(self, text: str, where: str) -> Marker | None:
        """Return an environment marker, or None after noting a problem."""
        try:
            return Marker(text)
        except (InvalidMarker, RecursionError) as error:
            self.problems.add(where, f"`{text}` is not a marker: {str(error).splitlines()[0].lower()}")
            return None

    def table(self, key: str) -> Table:
        """Return a sub-table, empty where there is none."""
        return Table(self.get(key, dict, {}), self.at(key), self.problems)

    def tables(self, key: str) -> Iterator[Table]:
        """Yield the tables of a list."""
        for index, value in enumerate(self.get(key, list, [])):
            path = f"{self.at(key)}[{index}]"
            if type(value) is dict:
                yield Table(value, path, self.problems)
            else:
                self.problems.add(path, f"must be a table, not {describe(value)}")

    def close(self, known: Collection[str], explain: Callable[[str], str | None] = lambda _: None) -> None:
        """Note every key that is not known, with the nearest known one.

        `explain` may say more about a key that people bring from elsewhere.
        """
        for key in self.values:
            if key not in known:
                more = explain(key) or suggestion(key, known).removeprefix(": ")
                self.add(key, f"unknown key{': ' + more if more else ''}")


def describe(value: object) -> str:
    """Return what a TOML value is, in words."""
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def listing(choices: Collection[str]) -> str:
    """Return the choices as one phrase."""
    return ", ".join(f"`{choice}`" for choice in choices)


def suggestion(word: str, known: Collection[str]) -> str:
    """Return `: did you mean ...?` when a known word is near, else nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean `{near[0]}`?" if near else ""

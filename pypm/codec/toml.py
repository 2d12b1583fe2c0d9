"""TOML text to plain data, with the place of a syntax error shown."""

from __future__ import annotations

import re
import sys
from typing import Any

from pypm.errors import ConfigurationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PLACE = re.compile(
    r"(?P<problem>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL
)


def parse_toml(content: bytes, *, file_name: str) -> dict[str, Any]:
    """Return the data of a TOML document.

    Raises:
        ConfigurationError: it is not TOML; the message has the line and column, `details` show them.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"`{file_name}` is not UTF-8 text (line {line})",
            reference="malformed-toml",
            hint="save it as UTF-8, as TOML requires",
        ) from error
    if text.startswith("\ufeff"):
        raise ConfigurationError(
            f"`{file_name}` starts with a byte order mark, which TOML does not allow",
            reference="malformed-toml",
            hint="save it as UTF-8 without a signature",
        )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem, details = _explain(str(error), text)
        raise ConfigurationError(
            f"`{file_name}` is not TOML: {problem}", reference="malformed-toml", details=details
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            f"`{file_name}` holds a number that is too long to be read", reference="malformed-toml"
        ) from error
    except RecursionError as error:
        raise ConfigurationError(
            f"`{file_name}` is nested too deeply to be read", reference="malformed-toml"
        ) from error


def _explain(message: str, text: str) -> tuple[str, tuple[str, ...]]:
    """Split the library's message into what and where, and show the line with a caret under the column."""
    match = _PLACE.fullmatch(message)
    if match is None:
        return message, ()
    problem = match["problem"][:1].lower() + match["problem"][1:]
    if match["line"] is None:
        return f"{problem} (at its end)", ()
    number, column = int(match["line"]), int(match["column"])
    lines = text.split("\n")
    shown = lines[number - 1].rstrip("\r") if number <= len(lines) else ""
    caret = " " * (column - 1) + "^"
    return f"{problem} (line {number}, column {column})", (
        f"{number} | {shown}",
        f"{' ' * len(str(number))} | {caret}",
    )

"""The lock's plain data as TOML text: one text for one content, one artifact a line, and quick to read back.

The text is TOML that can be turned into JSON by three substitutions: keys are bare, strings are those that
both languages write alike, and ` = ` never stands inside a string. The C scanner of `json` then reads it in a
third of the time that `tomllib` takes, which remains the judge of every text that is not of this form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pypm.codec.toml import parse_toml

_KEY = r"[A-Za-z0-9_-]+"
_LINE_KEY = re.compile(rf"^({_KEY}) = ", re.MULTILINE)
_INLINE_KEY = re.compile(rf"([{{,] ?)({_KEY}) = ")
_FREQUENT = (
    ("{name = ", '{"name": '),
    (", size = ", ', "size": '),
    (", hashes = {sha256 = ", ', "hashes": {"sha256": '),
    ("}, path = ", '}, "path": '),
    (", marker = ", ', "marker": '),
)
"""The keys of most lines: plain replacement is several times as fast as an expression."""
_SECTION = re.compile(rf"^\[(\[?)({_KEY})(\]?)\]$", re.MULTILINE)
_BARE_KEY = re.compile(_KEY)


def write_text(data: Mapping[str, Any]) -> str:
    """Return the TOML text of the data; keys stand in the order of their mapping.

    Lists of tables with a name in `_SECTIONS` become `[[sections]]`, tables become `[sections]`.
    """
    sections = {key: value for key, value in data.items() if _is_section(key, value)}
    lines = [*_assignments({key: value for key, value in data.items() if key not in sections})]
    for key, value in sections.items():
        for table in [value] if isinstance(value, Mapping) else value:
            lines += ["", f"[{key}]" if isinstance(value, Mapping) else f"[[{key}]]"]
            lines += _assignments(table)
    return "\n".join(lines) + "\n"


_SECTIONS = ("indexes", "packages", "plugins")


def _is_section(key: str, value: object) -> bool:
    return key in _SECTIONS or isinstance(value, Mapping)


def _assignments(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, Sequence) and not isinstance(value, str) and value and _one_a_line(value):
            yield f"{_key(key)} = ["
            yield from (f"    {_inline(item)}," for item in value)
            yield "]"
        else:
            yield f"{_key(key)} = {_inline(value)}"


def _one_a_line(items: Sequence[Any]) -> bool:
    """Tables stand one a line, and so do texts that are long, as markers are."""
    return isinstance(items[0], Mapping) or any(" " in item for item in items)


def _inline(value: Any) -> str:
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_inline(item)}" for key, item in value.items()) + "}"
    return "[" + ", ".join(_inline(item) for item in value) + "]"


def _key(key: str) -> str:
    if not _BARE_KEY.fullmatch(key):
        raise ValueError(f"{key!r} is not a bare key")
    return key


def quote(text: str) -> str:
    """Return a string as TOML and JSON both write it, without a bare ` = ` inside."""
    quoted = json.dumps(text, ensure_ascii=False).replace(" = ", r" \u003d ")
    # An overlapping ` = = ` needs a second pass; DEL is a control character for TOML, but not for JSON.
    return quoted.replace(" = ", r" \u003d ").replace("\x7f", r"\u007f")


def read_text(content: bytes, *, file_name: str) -> dict[str, Any]:
    """Return the plain data of a lock's text, whoever wrote it.

    Raises:
        ConfigurationError: it is not TOML.
    """
    try:
        return _read_own_form(content.decode("utf-8"))
    except (ValueError, RecursionError):
        return parse_toml(content, file_name=file_name)


def _read_own_form(text: str) -> dict[str, Any]:
    """Read text as `write_text` makes it.

    A substitution inside a string would leave a bare word between two strings, which is no JSON; so a text is
    either read as TOML would read it or refused.

    Raises:
        ValueError: the text is of another form.
    """
    while text.startswith("#"):
        text = text.partition("\n")[2]
    for toml, as_json in _FREQUENT:
        text = text.replace(toml, as_json)
    text = _LINE_KEY.sub(r',"\1": ', _INLINE_KEY.sub(r'\1"\2": ', text)).replace(",\n]", "\n]")
    if r"\ud" in text or r"\uD" in text:
        raise ValueError("JSON has surrogates and TOML has not")
    head, *rest = _SECTION.split(text)
    data = _table(head)
    lists: dict[str, list[dict[str, Any]]] = {}
    for opening, name, closing, body in zip(rest[::4], rest[1::4], rest[2::4], rest[3::4], strict=True):
        if bool(opening) != bool(closing) or name in data:
            raise ValueError(f"{name} is given twice or in unbalanced brackets")
        if opening:
            lists.setdefault(name, []).append(_table(body))
        else:
            data[name] = _table(body)
    return dict(_unique([*data.items(), *lists.items()]))


def _table(body: str) -> dict[str, Any]:
    body = body.strip()
    if body and not body.startswith(","):
        raise ValueError("a section does not start with a key")
    table: dict[str, Any] = json.loads(
        "{" + body[1:] + "}", object_pairs_hook=_unique, parse_constant=_refuse
    )
    return table


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key is given twice")
    return table


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no TOML")

"""JSON for the channel, by the C half of `json`: the other half imports more than all the rest of the host.

Source: `json.decoder.JSONDecoder`, whose fields the scanner reads; where there is no C half, `json` itself.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class _Decoder:
    """What the scanner asks of a decoder."""

    strict = True
    object_hook = object_pairs_hook = parse_constant = None
    parse_float = float
    parse_int = int


try:
    from _json import encode_basestring_ascii as _quoted
    from _json import make_scanner

    _scan: Callable[[str, int], tuple[Any, int]] = make_scanner(_Decoder)  # type: ignore[arg-type]
except ImportError:
    from json.decoder import JSONDecoder
    from json.encoder import encode_basestring_ascii as _quoted

    _scan = JSONDecoder().raw_decode


def decoded(line: bytes) -> dict[str, Any]:
    """Read a request of pypm's, an object without space around it."""
    request: dict[str, Any] = _scan(line.decode("ascii"), 0)[0]
    return request


def encoded(value: Any) -> str:
    """Write an answer or an event: what is made of dictionaries, lists, texts, whole numbers and None."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quoted(key)}:{encoded(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(encoded, value)) + "]"
    if isinstance(value, str):
        return str(_quoted(value))
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return int.__repr__(value)

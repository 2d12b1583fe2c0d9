"""Where in a `pyproject.toml` a requirement stands, for messages that name the line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name

Asked = tuple[NormalizedName, tuple[NormalizedName, ...], SpecifierSet]
"""What a requirement asks for, however it is spelt: name, extras in order, versions."""

_STRING = re.compile(r'"(?P<basic>(?:[^"\\]|\\.)*)"|\'(?P<literal>[^\']*)\'')
"""A TOML string of one line; requirements are not written in others."""


def requirement_lines(text: str) -> Mapping[Asked, int]:
    """Return the line of every requirement that is written exactly once.

    Every string of the file that reads as a requirement counts, wherever it stands, a comment included: a
    line is named only when no other could be meant.
    """
    found: dict[Asked, set[int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        for match in _STRING.finditer(line):
            asked = _asked(match)
            if asked is not None:
                found.setdefault(asked, set()).add(number)
    return {asked: min(numbers) for asked, numbers in found.items() if len(numbers) == 1}


def _asked(match: re.Match[str]) -> Asked | None:
    try:
        # The escapes that occur in a requirement, an escaped quote above all, are those of JSON.
        text = json.loads(match[0]) if match["basic"] is not None else match["literal"]
        requirement = Requirement(text)
    except (ValueError, InvalidRequirement):
        return None
    extras = tuple(sorted({canonicalize_name(extra) for extra in requirement.extras}))
    return canonicalize_name(requirement.name), extras, requirement.specifier

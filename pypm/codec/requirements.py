"""Requirements (PEP 508): reading them with help for usual mistakes, and writing them in one spelling."""

from __future__ import annotations

import re
from collections.abc import Callable

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pypm.errors import ConfigurationError


def parse_requirement(text: str, *, where: str) -> Requirement:
    """Return the requirement that `text` writes.

    `where` names the place in messages: `project.dependencies[3]`.

    Raises:
        ConfigurationError: it is not a requirement; `details` point at the column, `hint` knows the usual
            mistakes (`=`, poetry's carets, a bare repository address).

    Source: PEP 508.
    """
    try:
        requirement = Requirement(text)
    except (InvalidRequirement, RecursionError) as error:
        problem, *pointer = str(error).splitlines()
        raise ConfigurationError(
            f"`{where}` is not a requirement: {problem[:1].lower()}{problem[1:]}",
            reference="malformed-requirement",
            hint=_hint(text),
            details=tuple(line.removeprefix("    ") for line in pointer),
        ) from error
    if requirement.url and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", requirement.url):
        raise ConfigurationError(
            f"`{where}` is not a requirement: `{requirement.url}` is not an address",
            reference="malformed-requirement",
            hint=_hint(text),
        )
    return requirement


def canonical_requirement(requirement: Requirement) -> str:
    """Return the one spelling of a requirement: normalised names, sorted extras and specifiers.

    Used where texts are compared or hashed, so that `Flask>=2,<3` and `flask <3, >=2` are the same input.
    """
    parts: list[str] = [canonicalize_name(requirement.name)]
    if requirement.extras:
        parts.append(f"[{','.join(sorted({canonicalize_name(extra) for extra in requirement.extras}))}]")
    if requirement.url:
        parts.append(f" @ {requirement.url}")
    else:
        parts.append(",".join(sorted(str(specifier) for specifier in requirement.specifier)))
    if requirement.marker:
        # A marker may stand right after an address only behind a blank (PEP 508).
        parts.append(f"{' ' if requirement.url else ''}; {requirement.marker}")
    return "".join(parts)


def _package(match: re.Match[str]) -> str:
    return f"{match['name']}{match['extras'] or ''}"


def _two_parts(version: str) -> str:
    return version if "." in version else f"{version}.0"


def _caret_range(version: str) -> str:
    """Return what a caret means elsewhere: below the next change of the first part that is not zero."""
    numbers = [int(part) for part in version.split(".")]
    place = next((index for index, number in enumerate(numbers) if number), len(numbers) - 1)
    upper = [*numbers[:place], numbers[place] + 1]
    return f">={version},<{'.'.join(map(str, upper))}"


_Explain = Callable[[re.Match[str]], str]
_HEAD = r"\s*(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?P<extras>\[[^\]]*\])?\s*"

_MISTAKES: tuple[tuple[str, _Explain], ...] = (
    (r"\s*$", lambda _: "remove the empty entry"),
    (
        r"\s*(?P<address>(?:(?:git|hg|svn|bzr)\+|https?://).*?)\s*$",
        lambda match: f"write `NAME @ {match['address']}` with the package's name in front",
    ),
    (
        r"\s*(?:\.{0,2}/|[A-Za-z]:\\|file:|\.\\|-e\s)",
        lambda _: 'write the name here, and the place as `[tool.pypm.sources] NAME = { path = "..." }`',
    ),
    (
        _HEAD + r"(?:[><=~]*\s*)?\^\s*(?P<version>\d+(?:\.\d+)*)",
        lambda match: f"Python has no caret: write `{_package(match)}{_caret_range(match['version'])}`",
    ),
    (
        _HEAD + r"~\s*(?P<version>\d+(?:\.\d+)*)",
        lambda match: f"write `{_package(match)}~={_two_parts(match['version'])}` for compatible releases",
    ),
    (
        _HEAD + r"~=\s*(?P<version>\d+)\s*(?:[;,]|$)",
        lambda match: (
            f"write `{_package(match)}~={match['version']}.0`: a compatible release has two numbers or more"
        ),
    ),
    (
        _HEAD + r"=(?P<operator>[<>])\s*(?P<version>[^\s;,]+)",
        lambda match: f"write `{_package(match)}{match['operator']}={match['version']}`",
    ),
    (
        _HEAD + r"=\s*(?P<version>[^=\s;,]+)",
        lambda match: (
            f"write `{_package(match)}=={match['version']}`: an exact version takes two equals signs"
        ),
    ),
    (
        _HEAD + r"@\s*latest\s*$",
        lambda match: f"write `{_package(match)}`: without a condition the latest version is taken",
    ),
    (
        _HEAD + r"@?\s*(?P<version>\d[\w.!+]*)\s*(?:;.*)?$",
        lambda match: f"write `{_package(match)}=={match['version']}`",
    ),
    (
        _HEAD + r"\(?\s*[<>=!~]=?=?\s*[\w.*+!]+\s+[<>=!~]=?",
        lambda _: "separate the version conditions by commas",
    ),
    (r"[^;]*;.*[\w\"')]\s*(?<![<>=!~])=(?!=)", lambda _: "compare with `==` in markers"),
)
"""What people write in place of a requirement, the more telling mistakes first, and what to write instead."""


def _hint(text: str) -> str | None:
    for pattern, explain in _MISTAKES:
        if match := re.match(pattern, text):
            return explain(match)
    return None

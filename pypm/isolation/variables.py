"""The environment variables inside: a short list that is passed, a few that are made, nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

PASSED = (
    # How text, time and colour are shown.
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
    "LINES",
    # Programs print plain lines instead of progress bars where it is set.
    "CI",
    # Switches of the interpreter that name no file: `PYTHONPATH`, `PYTHONSTARTUP` and the like are not here.
    "PYTHONASYNCIODEBUG",
    "PYTHONDEVMODE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONFAULTHANDLER",
    "PYTHONHASHSEED",
    "PYTHONIOENCODING",
    "PYTHONTRACEMALLOC",
    "PYTHONUNBUFFERED",
    "PYTHONUTF8",
    "PYTHONWARNINGS",
)
"""Names, or prefixes that end in `*`, that a run takes from the caller without being asked."""

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
HOME = Path("/home/user")
"""The empty home inside: one name on every machine, so that neither output nor caches depend on who runs."""
USER = "user"
TEMPORARY = "/tmp"  # noqa: S108 - private to each sandbox

MADE = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "VIRTUAL_ENV")
"""Set by the sandbox; `allow-env` cannot hand in the caller's."""

BUILD_VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        # Sets and dictionaries of strings iterate alike in every build.
        "PYTHONHASHSEED": "0",
        # Bytecode in a wheel would hold the time of its source file.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        "NO_COLOR": "1",
    }
)
"""Besides `SOURCE_DATE_EPOCH`: what makes two builds of the same source equal."""


def made(location: Path | None) -> dict[str, str]:
    """The variables that the sandbox makes, for an environment at `location` or for none.

    `HOME` is not among them: the policy's `home` sets it.
    """
    variables = {"PATH": SYSTEM_PATH, "USER": USER, "LOGNAME": USER, "TMPDIR": TEMPORARY}
    if location is not None:
        variables["PATH"] = f"{location / 'bin'}:{SYSTEM_PATH}"
        variables["VIRTUAL_ENV"] = str(location)
    return variables


def passed(
    caller: Mapping[str, str], allowed: Iterable[str] = (), *, default: Iterable[str] = PASSED
) -> dict[str, str]:
    """Choose from the caller's variables the default ones and the allowed ones.

    A name that the caller has not set stays not set: a profile may list what only some machines have, and a
    program that misses its variable says so better than a general refusal could.
    """
    patterns = (*default, *allowed)
    exact = frozenset(pattern for pattern in patterns if not pattern.endswith("*"))
    prefixes = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))
    return {
        name: value
        for name, value in caller.items()
        if name not in MADE and (name in exact or name.startswith(prefixes))
    }

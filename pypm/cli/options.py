"""Flags that several commands share; each is declared once and each can be given as `PYPM_<FLAG>`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Flag(click.Option):
    """An option that can also be given through the environment: `--no-dev` as `PYPM_NO_DEV`."""

    def __init__(self, declarations: Sequence[str], **attributes: Any) -> None:
        long_name = max((name for name in declarations if name.startswith("-")), key=len)
        first = long_name.split("/")[0]
        attributes.setdefault("envvar", "PYPM_" + first.lstrip("-").replace("-", "_").upper())
        super().__init__(declarations, **attributes)


class Count(click.IntRange):
    """A whole number from zero on."""

    name = "whole number"

    def __init__(self) -> None:
        super().__init__(min=0)


def flag(*declarations: str, **attributes: Any) -> Callable[[Decorated], Decorated]:
    """Declare a `Flag` on a command's function."""
    return click.option(*declarations, cls=Flag, **attributes)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalOptions:
    """What every command understands, before its name or after it."""

    quiet: int = 0
    verbose: int = 0
    color: str = "auto"
    no_progress: bool = False
    offline: bool = False
    directory: Path | None = None
    project: Path | None = None
    config_file: Path | None = None
    no_config: bool = False
    cache_dir: Path | None = None
    no_cache: bool = False
    python: str | None = None

    def with_those_of(self, context: click.Context) -> GlobalOptions:
        """Return these options with those that were written after the command's name on top."""
        given: dict[str, Any] = {}
        for option in fields(self):
            if context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
                given[option.name] = context.params[option.name]
        for counted in ("quiet", "verbose"):
            given[counted] = getattr(self, counted) + given.get(counted, 0)
        return replace(self, **given)


def global_flags(*, environment: bool) -> list[click.Parameter]:
    """Return the global flags as parameters; only those before the command's name read the environment."""
    readable = click.Path(path_type=Path)
    declarations: list[tuple[list[str], dict[str, Any]]] = [
        (["-q", "--quiet"], {"count": True, "help": "Say less; twice: errors only."}),
        (["-v", "--verbose"], {"count": True, "help": "Say more; twice: with tracebacks."}),
        (
            ["--color"],
            {
                "type": click.Choice(["auto", "always", "never"]),
                "default": "auto",
                "help": "When to use colours.",
            },
        ),
        (["--no-progress"], {"is_flag": True, "help": "Draw no live progress."}),
        (["--offline"], {"is_flag": True, "help": "Use the cache alone; never the network."}),
        (
            ["--directory"],
            {"type": readable, "metavar": "DIR", "help": "Change to this directory before anything else."},
        ),
        (
            ["--project"],
            {"type": readable, "metavar": "DIR", "help": "Look for the project from here."},
        ),
        (
            ["--config-file"],
            {"type": readable, "metavar": "FILE", "help": "Read this in place of the user's pypm.toml."},
        ),
        (["--no-config"], {"is_flag": True, "help": "Read no pypm.toml."}),
        (["--cache-dir"], {"type": readable, "metavar": "DIR", "help": "Where the cache and the store lie."}),
        (["-n", "--no-cache"], {"is_flag": True, "help": "Use a temporary cache for this one command."}),
        (
            ["-p", "--python"],
            {"metavar": "REQUEST", "help": "The interpreter: a version, a name or a path."},
        ),
    ]
    made: list[click.Parameter] = []
    for names, attributes in declarations:
        if not environment:
            attributes["envvar"] = None
            attributes["hidden"] = names[-1] not in {"--quiet", "--verbose", "--project", "--python"}
        made.append(Flag(names, **attributes))
    return made


def combined(*flags: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """Join decorators into one; the first is listed first in the help."""

    def decorate(function: Decorated) -> Decorated:
        for one in reversed(flags):
            function = one(function)
        return function

    return decorate


selection_flags = combined(
    flag("--extra", multiple=True, metavar="NAME", help="Include this extra; repeatable."),
    flag("--all-extras", is_flag=True, help="Include every extra."),
    flag("--no-extra", multiple=True, metavar="NAME", help="Leave this extra out of --all-extras."),
    flag("--group", multiple=True, metavar="NAME", help="Include this dependency group; repeatable."),
    flag("--no-group", multiple=True, metavar="NAME", help="Leave this group out."),
    flag("--only-group", multiple=True, metavar="NAME", help="Only this group, without the project."),
    flag("--all-groups", is_flag=True, help="Include every dependency group."),
    flag("--no-default-groups", is_flag=True, help="Leave the default groups out."),
    flag("--no-dev", is_flag=True, help="Leave the group `dev` out."),
    flag("--only-dev", is_flag=True, help="Only the group `dev`, without the project."),
    flag("--no-install-project", is_flag=True, help="Leave the project itself out."),
)

state_flags = combined(
    flag("--locked", is_flag=True, help="Fail when the lock does not fit the project any more."),
    flag("--frozen", is_flag=True, help="Use the lock as it is, without looking at the project."),
)

index_flags = combined(
    flag(
        "--default-index",
        metavar="URL",
        help="Where the default index is served: a mirror needs no new lock.",
    ),
    flag("--index", multiple=True, metavar="NAME=URL", help="A further index, preferred to the others."),
    flag("-f", "--find-links", multiple=True, metavar="URL", help="A page or folder of files."),
)

resolution_flags = combined(
    flag(
        "--resolution",
        type=click.Choice(["highest", "lowest", "lowest-direct"]),
        help="Which of the versions that fit to choose.",
    ),
    flag(
        "--prerelease",
        type=click.Choice(["if-necessary", "explicit", "allow", "disallow"]),
        help="When pre-releases may be chosen.",
    ),
    flag("--exclude-newer", metavar="DATE", help="Ignore files uploaded after this date, or `7 days` ago."),
    flag(
        "--no-build",
        multiple=True,
        is_flag=False,
        flag_value="*",
        metavar="[NAME]",
        help="Take wheels only: of this package, or of all; repeatable.",
    ),
    flag(
        "--no-binary",
        multiple=True,
        is_flag=False,
        flag_value="*",
        metavar="[NAME]",
        help="Take source distributions only: of this package, or of all; repeatable.",
    ),
)

json_flag = flag("--json", "as_json", is_flag=True, help="Print JSON.", envvar="PYPM_JSON")

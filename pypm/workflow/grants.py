"""What the project and the command line grant beyond the default policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pypm.errors import ConfigurationError
from pypm.isolation import Boundary, RunOptions, grants, merge, parse_flags, parse_settings
from pypm.paths import find_project_root
from pypm.workflow.context import Context


def build_options(context: Context) -> RunOptions:
    """Return the project's `build` profile, as far down the ladder as `workflow.ladder` says.

    Less than that, and none at all, is given only where the profile itself names it.
    """
    options = _profile(context, "build")
    table = context.project.sandbox.get("build", {})
    if "isolation" in table:
        return options
    return replace(options, isolation=context.own_isolation)


def run_options(context: Context, profile: str, flags: Mapping[str, Any]) -> RunOptions:
    """Return a profile of the project with the sandbox flags of the command line on top.

    Raises:
        ConfigurationError: `[tool.pypm.sandbox]` is malformed.
        UsageError: a flag is, or there is no such profile.
    """
    given = parse_flags(flags, boundary(context), working_directory=Path.cwd())
    options = merge(_profile(context, profile), given)
    return options if options.isolation else replace(options, isolation=context.settings.isolation)


def boundary(context: Context) -> Boundary:
    """Return the places that no grant may open."""
    return Boundary(root=context.root, home=context.home, cache=context.cache.root)


def _profile(context: Context, name: str) -> RunOptions:
    """Return what the project grants itself under this profile.

    A run can write the folders of its project, so it can plant another project there, with grants of its own,
    and wait for somebody to type the next command in that folder. Such grants count only when the user names
    the project.
    """
    options = parse_settings(context.project.sandbox, boundary(context)).profile(name)
    opened = grants(options)
    outer = find_project_root(context.root.parent)
    if opened and outer is not None and not context.settings.names_project:
        raise ConfigurationError(
            f"`{context.root}` lies in the project `{outer}`, whose runs can write it, and grants itself more"
            " than the default policy",
            reference="nested-grants",
            hint=f"if you wrote its [tool.pypm.sandbox] yourself, name it: `--project {context.root}`",
            details=opened,
        )
    return options

"""What the project and the command line grant beyond the default policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pypm.isolation import Boundary, RunOptions, Settings, merge, parse_flags, parse_settings
from pypm.workflow.context import Context


def build_options(context: Context) -> RunOptions:
    """Return the project's `build` profile."""
    return _settings(context).profile("build")


def run_options(context: Context, profile: str, flags: Mapping[str, Any]) -> RunOptions:
    """Return a profile of the project with the sandbox flags of the command line on top.

    Raises:
        ConfigurationError: `[tool.pypm.sandbox]` is malformed.
        UsageError: a flag is, or there is no such profile.
    """
    given = parse_flags(flags, boundary(context), working_directory=Path.cwd())
    return merge(_settings(context).profile(profile), given)


def boundary(context: Context) -> Boundary:
    """Return the places that no grant may open."""
    return Boundary(root=context.root, home=context.home, cache=context.cache.root)


def _settings(context: Context) -> Settings:
    return parse_settings(context.project.sandbox, boundary(context))

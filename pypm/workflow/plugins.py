"""The plugins that a project uses, and those that this machine has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pypm.errors import PluginError, PypmError
from pypm.files import storage_errors
from pypm.isolation import Boundary, isolation_errors
from pypm.paths import environment_folder
from pypm.plugins.descriptor import Descriptor, inspect
from pypm.plugins.found import Found, SearchPath, find, find_all, search_path
from pypm.plugins.permissions import allow
from pypm.plugins.policy import Surroundings
from pypm.plugins.settings import Enabled, parse_plugins
from pypm.workflow.context import Context
from pypm.workflow.interpreters import find_interpreter


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One line of `pypm plugin list`."""

    name: str
    enabled: bool
    """Whether the project uses it."""
    found: Found | None
    """None: the project uses it, and it is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The answer of `pypm plugin check`."""

    found: Found
    descriptor: Descriptor
    refusal: PypmError | None
    """Why the project cannot use it as it is: something is not granted."""


def enabled_plugins(context: Context) -> tuple[Enabled, ...]:
    """Return what the project says about plugins, in its order; nothing without a project.

    Raises: ConfigurationError.
    """
    if context.settings.root is None:
        return ()
    boundary = Boundary(root=context.root, home=context.home, cache=context.cache.root)
    return parse_plugins(context.project.tool.get("plugins"), boundary)


def places(context: Context) -> SearchPath:
    """Return where plugins are looked for."""
    root = context.settings.root
    environment = None if root is None else environment_folder(root)
    site_packages = () if environment is None else tuple(environment.glob("lib/python*/site-packages"))
    return search_path(root, environment, site_packages, os.environ)


def list_plugins(context: Context) -> tuple[Listed, ...]:
    """Return the plugins that the project uses, then the others that are there. Nothing is loaded."""
    found = {item.name: item for item in find_all(places(context))}
    enabled = [item.name for item in enabled_plugins(context)]
    others = [name for name in found if name not in enabled]
    return (
        *(Listed(name=name, enabled=True, found=found.get(name)) for name in enabled),
        *(Listed(name=name, enabled=False, found=found[name]) for name in others),
    )


def check_plugin(context: Context, name: str) -> Checked:
    """Load a plugin where it can do nothing, and compare what it wants with what the project grants.

    Raises:
        PluginError: it is missing, cannot be loaded or is malformed.
        IsolationError: the sandbox could not be made.
    """
    where = places(context)
    if os.sep in name:
        path = Path(name).absolute()
        where = SearchPath(folders=(path.parent,))
        name = path.stem.removeprefix("pypm_")
    found = find(name, where)
    with isolation_errors():
        descriptor = inspect(found, surroundings(context))
    grants = next((item.grants for item in enabled_plugins(context) if item.name == found.name), None)
    refusal = None
    if grants is not None:
        try:
            allow(found.name, descriptor.permissions, grants, os.environ)
        except PluginError as error:
            refusal = error
    return Checked(found=found, descriptor=descriptor, refusal=refusal)


def surroundings(context: Context) -> Surroundings:
    """Return what the hosts of one command share; their folder is in the cache's scratch space."""
    with storage_errors(f"write to `{context.cache.scratch}`"):
        context.cache.scratch.mkdir(parents=True, exist_ok=True)
    return Surroundings(
        interpreter=find_interpreter(context, None),
        home=context.home,
        root=context.settings.root or context.settings.start,
        packages=(context.cache.store, context.cache.wheels),
        scratch=context.cache.scratch,
    )

"""The plugins that a project uses, and those that this machine has.

`open_session` is the door for the commands: it is None where the project names no plugin, so that those who
use none pay for none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pypm import __version__
from pypm.digest import Sha256
from pypm.errors import PluginError, PypmError
from pypm.files import storage_errors
from pypm.isolation import Boundary, isolation_errors
from pypm.paths import environment_folder
from pypm.plugins.descriptor import Descriptor, inspect
from pypm.plugins.found import Found, SearchPath, check_pin, find, find_all, search_path
from pypm.plugins.inside.context import Context as Told
from pypm.plugins.inside.context import Stage
from pypm.plugins.permissions import allow, allowed_lines
from pypm.plugins.policy import Surroundings
from pypm.plugins.session import Diagnostic, Session, choose
from pypm.plugins.settings import Enabled, parse_plugins
from pypm.workflow.context import Context
from pypm.workflow.interpreters import find_interpreter
from pypm.workflow.report import Reporter


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


class ReportedPlugins:
    """What plugins say, told by the command's reporter. Implements `plugins.session.Listener`."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def log(self, plugin: str, level: str, message: str) -> None:
        """Notes are for `-v`; what is graver is shown."""
        tell = self._reporter.warn if level in ("warning", "error") else self._reporter.detail
        tell(f"{plugin}: {message}")

    def progress(self, plugin: str, done: int, total: int | None, what: str) -> None:
        """For `-v`, a line each; hooks that take long are rare."""
        self._reporter.detail(f"{plugin}: {done} of {'?' if total is None else total} {what}".rstrip())

    def diagnostic(self, diagnostic: Diagnostic) -> None:
        """Show a finding."""
        about = f"`{diagnostic.package}`: " if diagnostic.package else ""
        text = f"{diagnostic.plugin}: {about}{diagnostic.message}"
        if diagnostic.level in ("warning", "error"):
            self._reporter.warn(text, hint=diagnostic.hint)
        else:
            self._reporter.detail(text)


def open_session(context: Context, pinned: Mapping[str, Sha256] | None = None) -> Session | None:
    """Return the project's plugins, ready to be called, or None where it names none. The caller closes it.

    `pinned` are the hashes of the lock. No host is started yet.

    Raises:
        ConfigurationError: `[tool.pypm.plugins]` is malformed.
        PluginError: one is missing, is not the locked one, or wants more than it is granted.
        IsolationError: the sandbox could not be made.
    """
    enabled = enabled_plugins(context)
    if not enabled:
        return None
    where, around = places(context), surroundings(context)
    chosen = []
    for item in enabled:
        found = find(item.name, where)
        check_pin(found, pinned or {})
        one = choose(item, found, around, variables=os.environ, kept=context.cache.root / "plugins-v1")
        for line in allowed_lines(one.allowed):
            context.reporter.detail(f"the plugin `{item.name}` is granted {line}")
        chosen.append(one)
    return Session(chosen, around, ReportedPlugins(context.reporter))


def plugin_hashes(context: Context) -> dict[str, Sha256]:
    """Return what the lock pins: the sha256 of each plugin that the project names, by its name.

    Raises: PluginError: one is missing.
    """
    where = places(context)
    return {item.name: find(item.name, where).sha256 for item in enabled_plugins(context)}


def told(context: Context, stage: Stage) -> Told:
    """Return what every hook is told; the caller adds what its stage has, with `dataclasses.replace`."""
    return Told(
        stage=stage,
        pypm_version=__version__,
        project_root=str(context.root),
        lock_path=str(context.lock_path),
        environment_path=str(environment_folder(context.root)),
    )


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

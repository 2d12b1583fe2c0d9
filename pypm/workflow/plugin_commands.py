"""`pypm plugin`: what there is, what one wants, and the user's consent to what a project grants it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pypm.digest import Sha256
from pypm.errors import ConfigurationError, IntegrityError, PluginError, PypmError
from pypm.isolation import isolation_errors
from pypm.model.lock import Lock
from pypm.plugins.descriptor import Descriptor, inspect
from pypm.plugins.found import Found, SearchPath, find, find_all, find_at
from pypm.plugins.permissions import allow, withheld
from pypm.plugins.settings import Enabled
from pypm.plugins.trust import Trust, read_trust, remember, token_of
from pypm.workflow.context import Context
from pypm.workflow.plugins import (
    consented_to,
    enabled_plugins,
    find_enabled,
    loadables,
    places,
    require_pinned,
    surroundings,
)
from pypm.workflow.stages import Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One line of `pypm plugin list`."""

    name: str
    enabled: bool
    """Whether the project uses it."""
    found: Found | None
    """None: the project uses it, and it is not there."""
    state: str
    """What is to be known about it in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The answer of `pypm plugin check`."""

    found: Found
    descriptor: Descriptor
    refusal: PypmError | None
    """Why the project cannot use it as it is: something is not granted."""
    withheld: tuple[str, ...] = ()
    """What the project grants and the user has not consented to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What `pypm plugin trust` asks about."""

    plugin: str
    token: Sha256
    grants: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    found: Found


def list_plugins(context: Context, lock: Lock | None) -> tuple[Listed, ...]:
    """Return the plugins that the project uses, then the others that are there. Nothing is loaded."""
    found = {item.name: item for item in find_all(places(context))}
    trust = read_trust(context.trust_folder, os.environ)
    enabled = enabled_plugins(context)
    others = [name for name in found if name not in {item.name for item in enabled}]
    return (
        *(_listed_plugin(context, item, lock, trust) for item in enabled),
        *(Listed(name=name, enabled=False, found=found[name], state="not used here") for name in others),
    )


def _listed_plugin(context: Context, enabled: Enabled, lock: Lock | None, trust: Trust) -> Listed:
    found: Found | Missing | None = None
    try:
        found = find_enabled(context, enabled, lock)
        if isinstance(found, Missing):
            return Listed(name=enabled.name, enabled=True, found=None, state="not in the store yet")
        if lock is not None:
            require_pinned(context, enabled, found, lock)
    except IntegrityError as error:
        state = "another than the locked one" if error.reference == "plugin-changed" else "not in the lock"
        there = None if isinstance(found, Missing) else found
        return Listed(name=enabled.name, enabled=True, found=there, state=state)
    except (PluginError, ConfigurationError):
        return Listed(name=enabled.name, enabled=True, found=None, state="not installed")
    waits = consented_to(context, enabled, found, trust).grants != enabled.grants
    state = "grants wait for your consent" if waits else "used"
    return Listed(name=enabled.name, enabled=True, found=found, state=state)


def check_plugin(context: Context, name: str, lock: Lock | None) -> Checked:
    """Load a plugin where it can do nothing, and compare what it wants with what the project grants.

    `name` is its name, or the path of its file.

    Raises:
        PluginError: it is missing, cannot be loaded or is malformed.
        IsolationError: the sandbox could not be made.
    """
    enabled: Enabled | None = None
    if os.sep in name or "." in name:
        found: Found = find_at(Path(name).absolute())
    else:
        enabled = _enabled(context, name)
        there = find(name, places(context)) if enabled is None else find_enabled(context, enabled, lock)
        if isinstance(there, Missing):
            raise _not_in_store(there)
        found = there
    around = surroundings(context)
    with isolation_errors():
        descriptor = inspect(loadables(context, (found,), around)[0], around)
    if enabled is None:
        return Checked(found=found, descriptor=descriptor, refusal=None)
    refusal = None
    try:
        allow(found.name, descriptor.permissions, enabled.grants, os.environ)
    except PluginError as error:
        refusal = error
    consented = consented_to(context, enabled, found, read_trust(context.trust_folder, os.environ))
    kept_back = withheld(descriptor.permissions, enabled.grants, consented.grants)
    return Checked(found=found, descriptor=descriptor, refusal=refusal, withheld=kept_back)


def build_plugins(context: Context, names: Sequence[str]) -> tuple[str, ...]:
    """Build plugins that come with pypm ahead of their first use; all of them without names.

    Raises: PluginError: none of this name comes with pypm, or it could not be built.
    """
    where = SearchPath(sources=places(context).sources)
    around = surroundings(context)
    shipped = {item.name: item for item in find_all(where)}
    unknown = [name for name in names if name not in shipped]
    if unknown:
        listed = " and ".join(f"`{name}`" for name in shipped)
        raise PluginError(
            f"no plugin `{unknown[0]}` comes with pypm",
            reference="plugin-not-shipped",
            hint=f"those that do are {listed}",
        )
    found = [shipped[name] for name in names] or tuple(shipped.values())
    loadables(context, found, around)
    return tuple(item.name for item in found)


def consent_about(context: Context, name: str, lock: Lock | None) -> Consent:
    """Return what there is to consent to.

    Raises: ConfigurationError: the project does not use the plugin. PluginError: it is not there.
    """
    enabled = _enabled(context, name)
    if enabled is None:
        raise ConfigurationError(
            f"`{context.root}` does not use the plugin `{name}`",
            reference="plugin-not-used",
            hint=f"a project uses it with `[tool.pypm.plugins.{name}]`",
        )
    found = find_enabled(context, enabled, lock)
    if isinstance(found, Missing):
        raise _not_in_store(found)
    return Consent(
        plugin=enabled.name,
        token=token_of(found, enabled),
        grants=enabled.grants.lines(),
        options=enabled.options,
        found=found,
    )


def give_consent(context: Context, consent: Consent) -> None:
    """Keep the user's consent to exactly this."""
    remember(context.trust_folder, context.root, consent.plugin, consent.token)


def withdraw_consent(context: Context, name: str) -> None:
    """Forget a consent, whether or not there is one."""
    remember(context.trust_folder, context.root, name.replace("_", "-"), None)


def _enabled(context: Context, name: str) -> Enabled | None:
    wanted = name.replace("_", "-")
    return next((item for item in enabled_plugins(context) if item.name == wanted), None)


def _not_in_store(missing: Missing) -> PluginError:
    return PluginError(
        f"the package `{missing.package}` of the plugin `{missing.plugin}` is not in the store",
        reference="plugin-not-in-store",
        hint="`pypm sync` fetches it",
    )

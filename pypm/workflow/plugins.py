"""The plugins that a project uses: found, pinned by the lock, consented to, and ready to be called."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec.structs import replace
from packaging.utils import NormalizedName

from pypm.digest import content_digest
from pypm.errors import ConfigurationError, IntegrityError, PluginError
from pypm.files import storage_errors
from pypm.isolation import Boundary, isolation_errors
from pypm.model.lock import Lock, LockedPlugin
from pypm.model.plan import Pick, Selection
from pypm.plugins.descriptor import Descriptor, inspect
from pypm.plugins.found import (
    Found,
    Loadable,
    PythonFound,
    SearchPath,
    SourceFound,
    find,
    package_path,
    search_path,
)
from pypm.plugins.found import candidates as candidates_of
from pypm.plugins.native_build import build, is_built
from pypm.plugins.permissions import Allowed, allow, allowed_lines, withheld
from pypm.plugins.pins import brought_by, check_pin, pin, platform_of, repinned
from pypm.plugins.policy import Surroundings
from pypm.plugins.session import Chosen
from pypm.plugins.settings import Enabled, parse_plugins
from pypm.plugins.trust import FILE_NAME as TRUST_FILE
from pypm.plugins.trust import Trust, read_trust, token_of
from pypm.store.wheels import Store
from pypm.workflow.context import Context
from pypm.workflow.interpreters import find_interpreter
from pypm.workflow.select import select
from pypm.workflow.stages import Missing, Pins


def enabled_plugins(context: Context) -> tuple[Enabled, ...]:
    """Return what the project says about plugins, in its order; nothing without a project.

    Raises: ConfigurationError.
    """
    if context.settings.root is None:
        return ()
    boundary = Boundary(
        root=context.root, home=context.home, cache=context.cache.root, consents=context.trust_folder
    )
    return parse_plugins(context.project.tool.get("plugins"), boundary)


def places(context: Context) -> SearchPath:
    """Return where plugins are looked for that no package brings."""
    return search_path(context.settings.root, os.environ)


def deciding_files(context: Context) -> tuple[Path, ...]:
    """Return every file that decides over the project's plugins besides its own and its lock, there or not.

    They are those that could bring another plugin in, the user's consents, and the interpreter of the hosts.
    """
    where, enabled = places(context), enabled_plugins(context)
    if not enabled:
        return ()
    found = (path for item in enabled if item.package is None for path in candidates_of(item.name, where))
    return (*found, context.trust_folder / TRUST_FILE, find_interpreter(context, None).executable)


# Finding ---------------------------------------------------------------------------------------------------


def find_enabled(context: Context, enabled: Enabled, lock: Lock | None) -> Found | Missing:
    """Find a plugin of the project: in the folders, or in the unpacked tree of the package that brings it.

    Raises:
        PluginError: it is not there.
        ConfigurationError: the lock does not have its package, or not as a wheel.
    """
    if enabled.package is None:
        return find(enabled.name, places(context))
    picks = _with_requirements(context, enabled, lock)
    interpreter, store = context.interpreter, Store(context.cache)
    wheels = [
        (pick, store.find(pick.artifact.sha256, interpreter.cache_tag))
        for pick in picks
        if pick.artifact is not None and pick.artifact.sha256 is not None
    ]
    missing = tuple(pick for pick, wheel in wheels if wheel is None)
    if missing:
        return Missing(plugin=enabled.name, package=str(enabled.package), picks=missing)
    below = Path(interpreter.site_packages)
    prefixes = [wheel.prefix for _, wheel in wheels if wheel is not None]
    found = find(enabled.name, package_path(prefixes[0], prefixes[0] / below))
    if not isinstance(found, PythonFound):
        return found
    hashes = [wheel.sha256 for _, wheel in wheels if wheel is not None]
    return replace(
        found, sha256=content_digest(hashes), requires=tuple(prefix / below for prefix in prefixes[1:])
    )


def _with_requirements(context: Context, enabled: Enabled, lock: Lock | None) -> tuple[Pick, ...]:
    """Return the picks of the package that brings a plugin, itself first, then what it depends on."""
    names = frozenset(package.name for package in lock.packages) if lock is not None else frozenset()
    if lock is None or enabled.package not in names:
        raise ConfigurationError(
            f"the package `{enabled.package}`, which is to bring the plugin `{enabled.name}`, is not locked",
            reference="plugin-package-missing",
            hint=f'name it in a dependency group: `[dependency-groups] dev = ["{enabled.package}"]`',
        )
    everything = Selection(
        extras=frozenset(lock.extras), groups=frozenset(lock.dependency_groups), project=False
    )
    picks = {
        pick.package.name: pick
        for pick in select(lock, context.interpreter.target, everything, settings=context.project.settings)
    }
    wanted: list[NormalizedName] = [enabled.package] if enabled.package is not None else []
    for name in wanted:
        edges = picks[name].package.dependencies if name in picks else ()
        wanted += [edge.name for edge in edges if edge.extra is None and edge.name not in wanted]
    closure = tuple(picks[name] for name in wanted if name in picks)
    unusable = [pick for pick in closure if pick.artifact is None or not pick.artifact.is_wheel]
    if not closure or closure[0].package.name != enabled.package or unusable:
        culprit = unusable[0].package.name if unusable else enabled.package
        raise ConfigurationError(
            f"the plugin `{enabled.name}` cannot be had: `{culprit}` is no wheel for this interpreter",
            reference="plugin-package-unusable",
            hint="plugins come from wheels only: they are needed before anything can be built",
        )
    return closure


def surroundings(context: Context) -> Surroundings:
    """Return what the hosts of one command share; their folder is in the cache's scratch space."""
    cache = context.cache
    readable = (cache.store, cache.wheels, cache.builds)
    # A host may start before the first download: what is not there then would never be shown to it.
    for folder in (cache.scratch, *readable):
        with storage_errors(f"make `{folder}`"):
            folder.mkdir(parents=True, exist_ok=True)
    return Surroundings(
        interpreter=find_interpreter(context, None),
        home=context.home,
        root=context.settings.root or context.settings.start,
        packages=readable,
        scratch=cache.scratch,
        isolation=context.own_isolation,
    )


def loadables(context: Context, found: Sequence[Found], around: Surroundings) -> tuple[Loadable, ...]:
    """Return the plugins as they are loaded: those that come as sources are built first, side by side.

    Raises: PluginError, IsolationError.
    """
    kept = context.cache.plugins
    sources = [item for item in found if isinstance(item, SourceFound) and not is_built(item, around, kept)]
    if sources:
        names = ", ".join(item.name for item in sources)
        what = f"the plugin{'s' if len(sources) > 1 else ''} {names}"
        with (
            context.reporter.task("Building", what, unit="steps"),
            ThreadPoolExecutor(max_workers=os.cpu_count()) as pool,
        ):
            for done in [pool.submit(build, item, around, kept) for item in sources]:
                done.result()
    return tuple(build(item, around, kept) if isinstance(item, SourceFound) else item for item in found)


# Pins ------------------------------------------------------------------------------------------------------


def with_pins(context: Context, lock: Lock, before: Lock | None, *, renew: bool) -> Lock:
    """Return the lock with the pins of the project's plugins.

    Where the earlier lock has a pin for this platform already, it is only replaced when `renew` says so: a
    lock that is made on the way must not take over bytes that nobody has looked at.

    Raises:
        PluginError: a plugin is missing.
        IntegrityError: one is not the pinned one.
    """
    enabled = enabled_plugins(context)
    if not enabled:
        return replace(lock, plugins=()) if lock.plugins else lock
    known = {plugin.name: plugin for plugin in before.plugins} if before is not None else {}
    platform = platform_of(context.interpreter)
    pinned: list[LockedPlugin] = []
    for item in enabled:
        if item.package is not None:
            _with_requirements(context, item, lock)
            pinned.append(brought_by(item.name, item.package))
            continue
        found = find(item.name, places(context))
        build = pin(found, platform)
        earlier = known[item.name].builds if item.name in known else ()
        if not renew and any(other.platform == build.platform for other in earlier):
            check_pin(found, known[item.name], platform)
        pinned.append(repinned(item.name, earlier, build))
    return replace(lock, plugins=tuple(sorted(pinned, key=lambda plugin: plugin.name)))


def require_pinned(context: Context, enabled: Enabled, found: Found, lock: Lock) -> None:
    """Refuse what the lock does not vouch for. Raises: IntegrityError."""
    locked = next((plugin for plugin in lock.plugins if plugin.name == enabled.name), None)
    if locked is None or locked.package != enabled.package:
        raise IntegrityError(
            f"the lock does not name the plugin `{enabled.name}`",
            reference="plugin-not-pinned",
            hint="`pypm lock` pins the one that is there now, if you trust it",
        )
    if enabled.package is None:
        check_pin(found, locked, platform_of(context.interpreter))


# Choosing --------------------------------------------------------------------------------------------------


def choose_plugins(
    context: Context, around: Surroundings, lock: Lock | None, pins: Pins
) -> tuple[tuple[Chosen, ...], tuple[Missing, ...]]:
    """Return the project's plugins, ready to be called, and those whose packages are still to be fetched.

    Each is compared with the lock before anything of it is loaded, as far as `pins` says. While the lock is
    being made, the package of a plugin may not be in the earlier one; then it takes no part.

    Raises:
        ConfigurationError: `[tool.pypm.plugins]` is malformed.
        PluginError: one is missing, cannot be loaded, or wants more than it is granted.
        IntegrityError: one is not the pinned one.
        IsolationError: the sandbox could not be made.
    """
    trust = read_trust(context.trust_folder, os.environ)
    ready: list[tuple[Enabled, Found]] = []
    missing: list[Missing] = []
    for item in enabled_plugins(context):
        if pins is not Pins.REQUIRED and item.package is not None and not _has_package(lock, item.package):
            context.reporter.detail(f"the plugin `{item.name}` takes no part: its package is not locked yet")
            continue
        found = find_enabled(context, item, lock)
        if isinstance(found, Missing):
            missing.append(found)
            continue
        _check_pins(context, item, found, lock, pins)
        ready.append((item, found))
    images = loadables(context, [found for _, found in ready], around)
    chosen: list[Chosen] = []
    for (item, found), image in zip(ready, images, strict=True):
        with isolation_errors():
            descriptor = inspect(image, around, kept=context.cache.plugins)
        consented, allowed = _granted(context, item, found, descriptor, trust)
        chosen.append(
            Chosen(
                enabled=consented,
                found=image,
                descriptor=descriptor,
                allowed=allowed,
                withheld=withheld(descriptor.permissions, item.grants, consented.grants),
            )
        )
    return tuple(chosen), tuple(missing)


def _has_package(lock: Lock | None, name: NormalizedName) -> bool:
    return lock is not None and any(package.name == name for package in lock.packages)


def _check_pins(context: Context, enabled: Enabled, found: Found, lock: Lock | None, pins: Pins) -> None:
    if lock is None or pins is Pins.RENEWED:
        return
    if pins is Pins.KNOWN:
        locked = next((plugin for plugin in lock.plugins if plugin.name == enabled.name), None)
        if locked is None or isinstance(found, PythonFound) or enabled.package is not None:
            return
        wanted = pin(found, platform_of(context.interpreter)).platform
        if all(build.platform != wanted for build in locked.builds):
            return
    require_pinned(context, enabled, found, lock)


def _granted(
    context: Context, enabled: Enabled, found: Found, descriptor: Descriptor, trust: Trust
) -> tuple[Enabled, Allowed]:
    """Return the settings with the grants that count, and what they come to; tell of those that do not count.

    Raises: PluginError: it wants more than it is granted.
    """
    consented = consented_to(context, enabled, found, trust)
    kept_back = withheld(descriptor.permissions, enabled.grants, consented.grants)
    required = [wanted.text for wanted in descriptor.permissions if not wanted.optional]
    if refused := [text for text in kept_back if text in required]:
        raise PluginError(
            f"the plugin `{found.name}` cannot do without {_listed(refused)}:"
            " the project grants it, and you have not consented to it",
            reference="plugin-not-trusted",
            hint=f"`pypm plugin trust {found.name}` shows all of it and asks you",
        )
    if kept_back:
        context.reporter.warn(
            f"the plugin `{found.name}` does without {_listed(kept_back)}:"
            " the project grants it, and you have not consented to it",
            hint=f"`pypm plugin trust {found.name}` shows all of it and asks you",
        )
    allowed = allow(found.name, descriptor.permissions, consented.grants, os.environ)
    for line in allowed_lines(allowed):
        context.reporter.detail(f"the plugin `{found.name}` is granted {line}")
    return consented, allowed


def consented_to(context: Context, enabled: Enabled, found: Found, trust: Trust) -> Enabled:
    """Return the plugin's settings with those grants that count: all, or what a project may grant itself."""
    if trust.covers(context.root, enabled.name, token_of(found, enabled)):
        return enabled
    return replace(enabled, grants=enabled.grants.of_the_project(context.root))


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(f"`{text}`" for text in texts)

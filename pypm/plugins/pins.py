"""What the lock says of a plugin: which bytes it may have on which platform, or which package brings it.

Where a file lies is not compared: it differs from machine to machine, and the bytes are what counts.
"""

from __future__ import annotations

from collections.abc import Iterable

from packaging.utils import NormalizedName

from pypm.errors import IntegrityError
from pypm.model.lock import LockedPlugin, PluginBuild
from pypm.model.target import Interpreter
from pypm.plugins.found import Found, PythonFound, SourceFound

_HINT = "`pypm lock` pins the one that is there now, if you trust it"


def platform_of(interpreter: Interpreter) -> str:
    """Return what native plugins are told apart by: system, machine and C library."""
    is_musl = any("-musllinux_" in tag for tag in interpreter.target.tags)
    return f"{interpreter.platform}-musl" if is_musl else interpreter.platform


def pin(found: Found, platform: str) -> PluginBuild:
    """Return what the lock is to say of a plugin that was found on this machine."""
    assert not isinstance(found, PythonFound), "what a package brings is vouched for by the package"
    return PluginBuild(
        sha256=found.sha256,
        filename=found.file_name,
        origin=found.origin,
        platform=None if isinstance(found, SourceFound) else platform,
    )


def repinned(name: str, before: Iterable[PluginBuild], build: PluginBuild) -> LockedPlugin:
    """Return the pins of a plugin with one of them renewed; those for other platforms stay."""
    kept = [other for other in before if other.platform != build.platform]
    return LockedPlugin(name=name, builds=tuple(sorted((*kept, build), key=lambda one: one.platform or "")))


def brought_by(name: str, package: NormalizedName) -> LockedPlugin:
    """Return what the lock is to say of a plugin that one of its packages brings."""
    return LockedPlugin(name=name, package=package)


def check_pin(found: Found, locked: LockedPlugin, platform: str) -> None:
    """Refuse a plugin that is not the one which the lock names.

    Raises: IntegrityError.
    """
    wanted = pin(found, platform)
    builds = {build.platform: build for build in locked.builds}
    if wanted.platform not in builds:
        pinned = ", ".join(f"`{name or 'sources of pypm'}`" for name in builds) or "no platform"
        raise IntegrityError(
            f"the lock does not vouch for the plugin `{found.name}` in `{found.path}`",
            reference="plugin-not-pinned",
            hint=_HINT,
            details=(f"locked for {pinned}", f"found for  `{wanted.platform or 'sources of pypm'}`"),
        )
    expected = builds[wanted.platform].sha256
    if expected != found.sha256:
        raise IntegrityError(
            f"the plugin `{found.name}` is not the one that the lock names",
            reference="plugin-changed",
            hint=_HINT,
            details=(f"locked sha256:{expected}", f"found  sha256:{found.sha256} in `{found.path}`"),
        )

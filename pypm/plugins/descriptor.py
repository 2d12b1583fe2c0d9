"""What a plugin says about itself, read by a host that may do nothing, and checked."""

from __future__ import annotations

import contextlib
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pypm import __version__
from pypm.errors import PluginError
from pypm.files import write_atomically
from pypm.plugins.failures import plugin_error, printable
from pypm.plugins.found import Loadable, NativeFound
from pypm.plugins.image import check_image
from pypm.plugins.inside.abi import ABI_VERSION
from pypm.plugins.inside.context import Stage
from pypm.plugins.library import Library
from pypm.plugins.link import Link, start
from pypm.plugins.permissions import Wanted, parse_wanted
from pypm.plugins.policy import Surroundings, bare_policy, host_command
from pypm.regular import read_regular

LOAD_SECONDS = 20.0
_MOST_PERMISSIONS = 64
_LONGEST_SUMMARY = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A checked descriptor."""

    name: str
    version: str
    summary: str
    permissions: tuple[Wanted, ...]
    stages: frozenset[Stage]


def inspect(found: Loadable, surroundings: Surroundings, *, kept: Path | None = None) -> Descriptor:
    """Return what a plugin says about itself.

    It is loaded in a sandbox with no permission at all, because loading it runs its code, and nothing is
    known yet of what it wants. `kept` is a folder of the cache in which the answer is remembered by the
    plugin's sha256, so that a command which calls no hook of it need not start it.

    Raises:
        PluginError: it cannot be loaded, is built for another machine or ABI, or its descriptor is malformed.
        IsolationError: the sandbox could not be made.
    """
    if isinstance(found, NativeFound):
        check_image(found.name, found.content, machine=platform.machine())
    remembered = None if kept is None else kept / f"{found.sha256}-{ABI_VERSION}-{__version__}.json"
    if remembered is not None:
        with contextlib.suppress(OSError, ValueError, PluginError):
            return _checked(found, json.loads(read_regular(remembered)))
    with Library(found, isolation=surroundings.isolation, scratch=surroundings.scratch) as library:
        policy = bare_policy(library, surroundings)
        link = Link(found.name, start(found.name, policy, host_command(surroundings.interpreter)))
        try:
            said = load(link, found, library)
        finally:
            link.close()
    descriptor = _checked(found, said)
    if remembered is not None:
        remembered.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(remembered, json.dumps(said).encode("ascii"))
    return descriptor


def load(link: Link, found: Loadable, library: Library) -> Any:
    """Have a host load the plugin; return what it says about itself, unchecked. Raises: PluginError."""
    request = load_request(found, library.path)
    answer = link.exchange(request, stage=None, timeout_seconds=LOAD_SECONDS, on_event=lambda _: None)
    match answer:
        case {"loaded": said}:
            return said
        case {"refused": [str(code), str(message)]} if code in _REFUSALS:
            shown = printable(message, most_characters=1000)
            raise link.failed(shown, reference=code, hint=_REFUSALS[code])
        case _:
            raise link.failed("sent what no host sends when it is loaded", reference="garbage")


def load_request(found: Loadable, path: str) -> dict[str, Any]:
    """Return what a host is sent to load a plugin; `path` is where it finds a library."""
    if isinstance(found, NativeFound):
        return {"do": "load", "native": path}
    folders = (found.site_packages, *found.requires)
    return {"do": "load", "python": [found.reference, [str(folder) for folder in folders]]}


_REFUSALS = {
    "unloadable": "build it again, and check that what it is linked with is installed on this machine",
    "missing-symbol": "a plugin exports `pypm_plugin` and `pypm_hook`; `pypm plugin new` shows how",
    "not-a-plugin": "fill the descriptor with PYPM_DESCRIPTOR_HEAD first",
    "newer-abi": "use a newer pypm, or an older version of the plugin",
    "malformed-descriptor": "this is for the plugin's author to mend; `pypm_plugin.h` says what is required",
    "unknown-stage": "use a newer pypm, or an older version of the plugin",
}
"""What a host may refuse with, and what to do about it."""


def _checked(found: Loadable, said: Any) -> Descriptor:
    match said:
        case {
            "name": str(name),
            "version": str(version),
            "summary": str(summary),
            "permissions": [*permissions],
            "stages": [*stages],
        } if len(permissions) <= _MOST_PERMISSIONS and all(isinstance(p, str) for p in permissions):
            known = {stage.value: stage for stage in Stage}
            wanted = [known.get(stage) for stage in stages if isinstance(stage, str)]
        case _:
            raise plugin_error(found.name, "does not describe itself", reference="malformed-descriptor")
    if name.replace("_", "-") != found.name:
        shown = printable(name, most_characters=64)
        raise plugin_error(
            found.name,
            f"calls itself `{shown}`",
            reference="wrong-name",
            hint="the file name, or the entry point, and the descriptor must have one name",
        )
    return Descriptor(
        name=found.name,
        version=printable(version.replace("\n", " "), most_characters=64),
        summary=printable(summary.replace("\n", " "), most_characters=_LONGEST_SUMMARY),
        permissions=tuple(parse_wanted(found.name, text) for text in permissions),
        stages=frozenset(stage for stage in wanted if stage is not None),
    )

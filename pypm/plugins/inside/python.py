"""A plugin in Python: an object behind an entry point of the group `pypm.plugins`.

The object has `name`, `version`, `stages` (an iterable of stage names), optionally `summary` and
`permissions` (as in the header), and `hook(context, host)`. The hook returns None or 0 to go on, another
number to end the command; an exception ends it too.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Any

from .abi import ERROR, NOTE
from .channel import Calls
from .context import Context, Package, Stage
from .refusal import Refusal


class PythonHost:
    """What a hook may call. Levels are those of the header: 0 debug, 1 note, 2 warning, 3 error."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._packages: tuple[Package, ...] = ()

    def show(self, packages: tuple[Package, ...]) -> None:
        """Take the packages of the context that is about to be handled."""
        self._packages = packages

    def log(self, message: str, *, level: int = NOTE) -> None:
        """Tell something."""
        if self._calls.allowed():
            self._calls.log(_level(level), str(message))

    def progress(self, done: int, total: int = 0, what: str = "") -> None:
        """Tell how far the stage is; `total` is 0 while it is not known."""
        if self._calls.allowed():
            self._calls.progress(int(done), int(total), str(what))

    def diagnostic(
        self, message: str, *, level: int = ERROR, package: Package | None = None, hint: str | None = None
    ) -> None:
        """Add a finding, perhaps about a package of the context."""
        if self._calls.allowed():
            index = None if package is None else self._packages.index(package)
            self._calls.diagnostic(_level(level), index, str(message), None if hint is None else str(hint))

    def offer(self, package: Package, path: str) -> None:
        """Offer a file in `scratch` for the artifact of a package, at `pre-fetch`."""
        if self._calls.allowed():
            self._calls.offer(self._packages.index(package), str(path))

    def cancelled(self) -> bool:
        """Whether the hook should come to its end."""
        return not self._calls.allowed() or self._calls.cancelled()


class PythonPlugin:
    """One imported plugin."""

    def __init__(self, reference: str, path: list[str], calls: Calls) -> None:
        """Import it. Raises: Refusal."""
        sys.path[:0] = path
        module, _, attribute = reference.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for name in filter(None, attribute.split(".")):
                found = getattr(found, name)
        except Exception as error:
            raise Refusal("unloadable", f"cannot be imported: {type(error).__name__}: {error}") from error
        self._plugin = found
        self._calls = calls
        self._host = PythonHost(calls)

    def describe(self) -> dict[str, Any]:
        """Return what the object says about itself. Raises: Refusal."""
        try:
            described = {
                "name": str(self._plugin.name),
                "version": str(self._plugin.version),
                "summary": str(getattr(self._plugin, "summary", "")),
                "permissions": [str(item) for item in getattr(self._plugin, "permissions", ())],
                "stages": [Stage(item).value for item in self._plugin.stages],
            }
        except ValueError as error:
            raise Refusal("unknown-stage", f"wants a stage that this pypm does not have: {error}") from error
        except Exception as error:
            raise Refusal("malformed-descriptor", f"does not describe itself: {error}") from error
        if not callable(getattr(self._plugin, "hook", None)):
            raise Refusal("missing-symbol", "has no `hook` that can be called")
        return described

    def call(self, plain: dict[str, Any]) -> int:
        """Call the hook; an exception counts as a failure that tells of itself."""
        context = Context.from_plain(plain)
        self._host.show(context.packages)
        self._calls.begin()
        try:
            result = self._plugin.hook(context, self._host)
            return 0 if result is None else int(result)
        except Exception as error:
            sys.stderr.write(traceback.format_exc())
            self._calls.diagnostic(ERROR, None, f"{type(error).__name__}: {error}", None)
            return 1
        finally:
            self._calls.end()


def _level(level: int) -> int:
    return min(max(int(level), 0), ERROR)

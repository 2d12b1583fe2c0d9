"""One file with the code of every module that a fast start needs, in the place of one file for each.

Finding and reading two dozen modules costs more than running them: six milliseconds, the half of a start of
Python. So the first fast start that had to look for a module of this distribution writes what it loaded into
one file beside the bytecode that the interpreter itself keeps, and the next one is served from there. It is
a cache of the same kind and trust: a module is served only while its source has the time and size that it
had, and where the folder cannot be written there is none.

Source: `importlib.abc.MetaPathFinder`; PEP 3147 and `importlib.util.cache_from_source` for the place.
"""

# ruff: noqa: PTH105, PTH108, PTH116, PTH120, PTH123
# `pathlib` costs more than what is saved here.

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader

from pypm import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType

    Stamp = tuple[int, int]
    """Modification time in nanoseconds and size in bytes of a source file."""
    Entry = tuple[str, str | None, Stamp, bool, bytes]
    """Source file, bytecode file, the source's stamp, whether it is a package, and the code in the form of
    `marshal`: what a start does not need stays bytes."""

_ROOT = os.path.dirname(os.path.dirname(__file__)) + os.sep
"""Where this distribution's packages lie; nothing from elsewhere is ever served."""

_MADE_BY = (MAGIC_NUMBER, __version__)
"""Code of another interpreter or another pypm is never served."""


class _Loader(SourceFileLoader):
    """As the interpreter's own, but for where the code comes from."""

    def __init__(self, fullname: str, path: str, code: bytes) -> None:
        super().__init__(fullname, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType | None:
        code: CodeType = marshal.loads(self._code)  # noqa: S302 - as the interpreter reads its own bytecode
        return code


class Bundle:
    """A finder for `sys.meta_path`."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._entries: dict[str, Entry] = {}
        try:
            with open(place, "rb", buffering=0) as stream:
                made_by, entries = marshal.loads(stream.read())  # noqa: S302 - as above
            if made_by == _MADE_BY:
                self._entries = entries
        except (OSError, EOFError, ValueError, TypeError):
            return  # None yet, or a damaged one: the next one is written over it.

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Say where a module comes from; None for what is not in here or has changed."""
        del path, target
        entry = self._entries.get(fullname)
        if entry is None:
            return None
        origin, cached, stamp, is_package, code = entry
        if stamp != _stamp(origin):
            return None
        spec = ModuleSpec(fullname, _Loader(fullname, origin, code), origin=origin, is_package=is_package)
        spec.has_location, spec.cached = True, cached
        if is_package:
            spec.submodule_search_locations = [os.path.dirname(origin)]
        return spec

    def keep(self) -> None:
        """Write the modules that were loaded past this finder into it, for the next start."""
        found = {name: _entry(module) for name, module in list(sys.modules.items()) if name not in _BEFORE}
        missing = {name: entry for name, entry in found.items() if entry is not None}
        if not (missing and self._place) or sys.dont_write_bytecode:
            return
        beside = f"{self._place}.{os.getpid()}"
        try:
            with open(beside, "wb") as stream:
                stream.write(marshal.dumps((_MADE_BY, {**self._entries, **missing})))
            os.replace(beside, self._place)
        except OSError:
            _remove(beside)


_BEFORE = frozenset(sys.modules)
"""What is loaded before anything can be served."""


def _entry(module: ModuleType) -> Entry | None:
    """What to keep of a module; None where the interpreter did not load it from a source file of ours."""
    spec = getattr(module, "__spec__", None)  # Not everything in `sys.modules` is a module.
    if spec is None or type(spec.loader) is not SourceFileLoader or not spec.origin:
        return None
    stamp = _stamp(spec.origin) if spec.origin.startswith(_ROOT) else None
    code = None if stamp is None else spec.loader.get_code(spec.name)
    if stamp is None or code is None or stamp != _stamp(spec.origin):
        return None  # Edited meanwhile: code and time would not belong together.
    is_package = spec.submodule_search_locations is not None
    return spec.origin, spec.cached, stamp, is_package, marshal.dumps(code)


def _stamp(source: str) -> Stamp | None:
    try:
        status = os.stat(source)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def install(cached: str | None) -> Bundle:
    """Serve modules from the bundle beside `cached`, the bytecode file of what starts the program, if any."""
    bundle = Bundle(f"{cached.removesuffix('.pyc')}.bundle" if cached else "")
    sys.meta_path.insert(0, bundle)
    return bundle

"""A plugin in a shared library: loads it, reads its descriptor without trust, calls its hook."""

from __future__ import annotations

import ctypes as c
import os

from . import abi
from .refusal import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .channel import Calls

_NAME_BYTES = 64
_LINE_BYTES = 1024
_MESSAGE_BYTES = 8192
_MOST_PERMISSIONS = 64

_strnlen: Callable[[int, int], int] = c.CDLL(None).strnlen
_strnlen.argtypes = (c.c_void_p, c.c_size_t)  # type: ignore[attr-defined]
_strnlen.restype = c.c_size_t  # type: ignore[attr-defined]


class NativePlugin:
    """One loaded library."""

    def __init__(self, path: str, calls: Calls) -> None:
        """Load it. Raises: Refusal."""
        try:
            library = c.CDLL(path, mode=os.RTLD_NOW | os.RTLD_LOCAL)
        except OSError as error:
            raise Refusal(
                "unloadable", f"cannot be loaded: {str(error).removeprefix(path + ': ')}"
            ) from error
        try:
            magic = c.c_uint32.in_dll(library, "pypm_plugin")
            self._descriptor = abi.Descriptor.in_dll(library, "pypm_plugin")
            self._hook = abi.HOOK(("pypm_hook", library))
        except (ValueError, AttributeError) as error:
            raise Refusal("missing-symbol", f"lacks a symbol: {error}") from error
        if magic.value != abi.MAGIC:
            raise Refusal("not-a-plugin", "exports a `pypm_plugin` that is no descriptor: its magic is wrong")
        self._check_versions()
        self._calls = calls
        self._packages: dict[int, int] = {}
        self._host = self._make_host()

    def describe(self) -> dict[str, Any]:
        """Return what the descriptor says. Raises: Refusal."""
        found = self._descriptor
        return {
            "name": _required(found.name, "name"),
            "version": _required(found.version, "version"),
            "summary": "" if found.summary is None else _text(found.summary, _LINE_BYTES),
            "permissions": _permissions(found.permissions),
            "stages": _stages(found.stages),
        }

    def call(self, context: dict[str, Any]) -> int:
        """Call the hook; return what it returned. `context` is plain: dataclasses take long to import."""
        made = _Made(context)
        made.context.host = c.pointer(self._host)
        self._packages = made.addresses
        self._calls.begin()
        try:
            return int(self._hook(c.byref(made.context)))
        finally:
            self._calls.end()
            self._packages = {}

    def _check_versions(self) -> None:
        found = self._descriptor
        if found.abi_version > abi.ABI_VERSION:
            raise Refusal(
                "newer-abi",
                f"was built for version {found.abi_version} of the plugin interface, and this pypm speaks "
                f"version {abi.ABI_VERSION}",
            )
        if found.abi_version == 0 or found.struct_size < abi.SMALLEST_DESCRIPTOR_BYTES:
            raise Refusal("malformed-descriptor", "has a descriptor that is smaller than version 1's")
        if found.context_size > c.sizeof(abi.Context):
            raise Refusal(
                "newer-abi",
                f"needs a context of {found.context_size} bytes, and this pypm's has {c.sizeof(abi.Context)}",
            )

    def _make_host(self) -> abi.Host:
        """The callbacks; they live as long as the library, which may have kept their addresses."""
        return abi.Host(
            struct_size=c.sizeof(abi.Host),
            log=abi.LOG(self._log),
            progress=abi.PROGRESS(self._progress),
            diagnostic=abi.DIAGNOSTIC(self._diagnostic),
            offer=abi.OFFER(self._offer),
            cancelled=abi.CANCELLED(self._cancelled),
        )

    def _log(self, _: int | None, level: int, message: int | None) -> int:
        if not self._calls.allowed():
            return abi.REFUSED
        if message is None or level > abi.ERROR:
            return abi.INVALID
        self._calls.log(level, _text(message, _MESSAGE_BYTES))
        return abi.OK

    def _progress(self, _: int | None, done: int, total: int, what: int | None) -> int:
        if not self._calls.allowed():
            return abi.REFUSED
        self._calls.progress(done, total, "" if what is None else _text(what, _LINE_BYTES))
        return abi.OK

    def _diagnostic(
        self, _: int | None, level: int, package: int | None, message: int | None, hint: int | None
    ) -> int:
        if not self._calls.allowed():
            return abi.REFUSED
        if message is None or level > abi.ERROR or (package is not None and package not in self._packages):
            return abi.INVALID
        self._calls.diagnostic(
            level,
            None if package is None else self._packages[package],
            _text(message, _MESSAGE_BYTES),
            None if hint is None else _text(hint, _MESSAGE_BYTES),
        )
        return abi.OK

    def _offer(self, _: int | None, package: int | None, path: int | None) -> int:
        if not self._calls.allowed():
            return abi.REFUSED
        if package is None or package not in self._packages or path is None:
            return abi.INVALID
        self._calls.offer(self._packages[package], _text(path, _MESSAGE_BYTES))
        return abi.OK

    def _cancelled(self, _: int | None) -> int:
        return int(not self._calls.allowed() or self._calls.cancelled())


class _Made:
    """A context in C's shape, with everything that it points to kept alive beside it."""

    def __init__(self, context: dict[str, Any]) -> None:
        packages = [_package(package) for package in context["packages"]]
        options = [
            abi.Option(struct_size=c.sizeof(abi.Option), key=_bytes(key), value=_bytes(value))
            for key, value in context["options"]
        ]
        tags = [_bytes(tag) for tag in context["platform_tags"]]
        self._kept = (packages, options, tags)
        self.addresses = {c.addressof(package): index for index, package in enumerate(packages)}
        self.context = abi.Context(
            struct_size=c.sizeof(abi.Context),
            abi_version=abi.ABI_VERSION,
            stage=1 << abi.STAGES.index(context["stage"]),
            stage_name=_bytes(context["stage"]),
            platform_tag_count=len(tags),
            platform_tags=(c.c_char_p * (len(tags) + 1))(*tags),
            option_count=len(options),
            options=(c.POINTER(abi.Option) * (len(options) + 1))(*map(c.pointer, options)),
            package_count=len(packages),
            packages=(c.POINTER(abi.Package) * (len(packages) + 1))(*map(c.pointer, packages)),
            **{name: _bytes(context[name]) for name in _TEXTS},
        )


def _package(package: dict[str, Any]) -> abi.Package:
    return abi.Package(
        struct_size=c.sizeof(abi.Package),
        size_bytes=package["size_bytes"],
        **{name: _bytes(package[name]) for name in _PACKAGE_TEXTS},
    )


_PACKAGE_TEXTS = ("name", "version", "artifact", "url", "sha256", "path", "tree", "build_key", "build_record")
_TEXTS = (
    "pypm_version", "project_root", "lock_path", "lock_digest", "environment_path", "environment_digest",
    "interpreter", "interpreter_version", "scratch",
)  # fmt: skip


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogateescape")


def _text(address: int, limit: int) -> str:
    """Copy at most `limit` bytes; what is not UTF-8 becomes a replacement character."""
    return c.string_at(address, _strnlen(address, limit)).decode("utf-8", "replace")


def _required(address: int | None, field: str) -> str:
    if address is None:
        raise Refusal("malformed-descriptor", f"has a descriptor whose `{field}` is NULL")
    length = _strnlen(address, _NAME_BYTES + 1)
    if not 0 < length <= _NAME_BYTES:
        raise Refusal(
            "malformed-descriptor", f"has a descriptor whose `{field}` is not 1 to {_NAME_BYTES} bytes long"
        )
    try:
        return c.string_at(address, length).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal("malformed-descriptor", f"has a descriptor whose `{field}` is not UTF-8") from error


def _permissions(address: int | None) -> list[str]:
    if address is None:
        return []
    texts: list[str] = []
    entries = c.cast(address, c.POINTER(c.c_void_p))
    while entries[len(texts)] is not None:
        if len(texts) == _MOST_PERMISSIONS:
            raise Refusal("malformed-descriptor", f"wants more than {_MOST_PERMISSIONS} permissions")
        texts.append(_text(entries[len(texts)], _LINE_BYTES))
    return texts


def _stages(bits: int) -> list[str]:
    unknown = bits >> len(abi.STAGES) << len(abi.STAGES)
    if unknown:
        raise Refusal("unknown-stage", f"wants stages that this pypm does not have (0x{unknown:x})")
    return [stage for place, stage in enumerate(abi.STAGES) if bits & 1 << place]

"""The structures of `pypm_plugin.h` for ctypes. A test compiles the header and compares every offset."""

from __future__ import annotations

import ctypes as c

MAGIC = 0x5059504D
ABI_VERSION = 1

DEBUG, NOTE, WARNING, ERROR = range(4)
OK, INVALID, REFUSED = range(3)

STAGES = (
    "pre-lock", "post-lock", "pre-sync", "pre-fetch", "post-fetch", "pre-build",
    "post-build", "pre-install", "post-install", "post-sync", "pre-run", "post-run",
)  # fmt: skip
"""In the order of their bits."""

TEXT = c.c_void_p
"""`const char *` that is read with a limit: `c_char_p` would walk any length before we could stop it."""


class Package(c.Structure):
    """`pypm_package`."""

    _fields_ = (
        ("struct_size", c.c_uint32),
        ("reserved", c.c_uint32),
        ("name", c.c_char_p),
        ("version", c.c_char_p),
        ("artifact", c.c_char_p),
        ("url", c.c_char_p),
        ("sha256", c.c_char_p),
        ("path", c.c_char_p),
        ("tree", c.c_char_p),
        ("size_bytes", c.c_uint64),
        ("build_key", c.c_char_p),
        ("build_record", c.c_char_p),
    )


class Option(c.Structure):
    """`pypm_option`."""

    _fields_ = (
        ("struct_size", c.c_uint32),
        ("reserved", c.c_uint32),
        ("key", c.c_char_p),
        ("value", c.c_char_p),
    )


LOG = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_uint32, TEXT)
PROGRESS = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_uint64, c.c_uint64, TEXT)
DIAGNOSTIC = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_uint32, c.c_void_p, TEXT, TEXT)
OFFER = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, TEXT)
CANCELLED = c.CFUNCTYPE(c.c_int, c.c_void_p)


class Host(c.Structure):
    """`pypm_host`."""

    _fields_ = (
        ("struct_size", c.c_uint32),
        ("reserved", c.c_uint32),
        ("user", c.c_void_p),
        ("log", LOG),
        ("progress", PROGRESS),
        ("diagnostic", DIAGNOSTIC),
        ("offer", OFFER),
        ("cancelled", CANCELLED),
    )


class Context(c.Structure):
    """`pypm_context`."""

    _fields_ = (
        ("struct_size", c.c_uint32),
        ("abi_version", c.c_uint32),
        ("stage", c.c_uint32),
        ("reserved", c.c_uint32),
        ("stage_name", c.c_char_p),
        ("pypm_version", c.c_char_p),
        ("project_root", c.c_char_p),
        ("lock_path", c.c_char_p),
        ("lock_digest", c.c_char_p),
        ("environment_path", c.c_char_p),
        ("environment_digest", c.c_char_p),
        ("interpreter", c.c_char_p),
        ("interpreter_version", c.c_char_p),
        ("scratch", c.c_char_p),
        ("platform_tag_count", c.c_size_t),
        ("platform_tags", c.POINTER(c.c_char_p)),
        ("option_count", c.c_size_t),
        ("options", c.POINTER(c.POINTER(Option))),
        ("package_count", c.c_size_t),
        ("packages", c.POINTER(c.POINTER(Package))),
        ("host", c.POINTER(Host)),
    )


class Descriptor(c.Structure):
    """`pypm_descriptor`. Texts are plain pointers here, because they are not to be trusted."""

    _fields_ = (
        ("magic", c.c_uint32),
        ("abi_version", c.c_uint32),
        ("struct_size", c.c_uint32),
        ("context_size", c.c_uint32),
        ("name", TEXT),
        ("version", TEXT),
        ("summary", TEXT),
        ("permissions", c.c_void_p),
        ("stages", c.c_uint32),
        ("reserved", c.c_uint32),
    )


SMALLEST_DESCRIPTOR_BYTES = Descriptor.reserved.offset + Descriptor.reserved.size
"""Of the first version 1, whatever has been appended since."""

HOOK = c.CFUNCTYPE(c.c_int, c.POINTER(Context))
STRUCTURES = {
    "pypm_package": Package,
    "pypm_option": Option,
    "pypm_host": Host,
    "pypm_context": Context,
    "pypm_descriptor": Descriptor,
}
"""By the names that they have in C."""

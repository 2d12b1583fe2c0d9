"""What a shared library was built for, read from its first bytes: a wrong one is named without loading it.

Source: elf(5); Mach-O `mach-o/loader.h`; Microsoft PE/COFF specification.
"""

from __future__ import annotations

import struct

from pypm.plugins.failures import plugin_error

_ELF_MACHINES = {3: "i686", 8: "mips", 21: "ppc64le", 22: "s390x", 40: "armv7l", 62: "x86_64", 183: "aarch64",
                 243: "riscv64", 258: "loongarch64"}  # fmt: skip
_SHARED_OBJECT = 3
"""ET_DYN."""
_MACH_MAGICS = (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe")


def check_image(plugin: str, content: bytes, *, machine: str) -> None:
    """Refuse what cannot be loaded on this machine (`platform.machine()`).

    Raises: PluginError.
    """
    problem = _problem(content, machine)
    if problem is not None:
        raise plugin_error(
            plugin,
            problem,
            reference="wrong-image",
            hint="build the plugin on this machine, for this machine",
        )


def _problem(content: bytes, machine: str) -> str | None:
    if content[:4] in _MACH_MAGICS:
        return "is a library for macOS, and this is Linux"
    if content[:2] == b"MZ":
        return "is a library for Windows, and this is Linux"
    if content[:4] != b"\x7fELF" or len(content) < 64:
        return "is not a shared library: it does not begin as an ELF file does"
    order = "<" if content[5] == 1 else ">"
    kind, built_for = struct.unpack_from(f"{order}HH", content, 16)
    name = _ELF_MACHINES.get(built_for, f"machine {built_for}")
    if kind != _SHARED_OBJECT:
        return "is an ELF file but not a shared library; link it with `-shared`"
    if name != machine and machine in _ELF_MACHINES.values():
        return f"is built for {name}, and this machine is {machine}"
    return None

"""Compile sources once, for every environment that will ever link them.

The files are "unchecked hash" ones: they are valid whatever the times on disk say, and the interpreter
never reads the source to find out, which is right for a tree that nobody may change.

They are the same bytes wherever and whenever they are made. Two things would change them: `marshal` writes
sets of constants in an order that hashes decide, and it marks for reuse what is referenced more
than once, also by whatever else the process happens to hold. So hashes are seeded, and constants are held.

Source: PEP 552; CPython's Python/marshal.c (`w_ref`, `w_complex_object`).
"""

# Descriptors and text paths: `pathlib` would double the time of a wheel of small files.
# ruff: noqa: PTH103, PTH120, PTH123

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import os
import sys
import warnings
from types import CodeType

_HAS_ORIGINAL_ARGUMENTS = (3, 10)
_UNCHECKED_HASH = (1).to_bytes(4, "little")  # PEP 552: bit 0 hash-based, bit 1 checked


def seed_hashes() -> None:
    """Start the interpreter again with a fixed seed for hashes: bytecode depends on it."""
    if sys.version_info >= _HAS_ORIGINAL_ARGUMENTS and sys.flags.hash_randomization:
        # `-I` would ignore the seed. The environment is empty, and the program clears its path itself.
        rest = sys.orig_argv[sys.orig_argv.index("-c") :]
        os.execve(sys.executable, [sys.executable, "-s", "-S", "-B", *rest], {"PYTHONHASHSEED": "0"})  # noqa: S606


def compile_sources(staging: str, sources: list[str], mtime_ns: int) -> list[tuple[str, int, str]]:
    """Compile each source below `staging`; return (path, size, sha256) of what was written.

    A source that does not compile (a template, a file for another Python) stays without bytecode, as with
    every installer; so does one whose bytecode the wheel itself brings.
    """
    warnings.simplefilter("ignore")
    written = []
    for source in sources:
        folder, name = os.path.split(source)
        cached = f"{folder}/__pycache__/{name[:-3]}.{sys.implementation.cache_tag}.pyc"
        target = f"{staging}/{cached}"
        if os.path.lexists(target):
            continue
        with open(f"{staging}/{source}", "rb") as stream:
            text = stream.read()
        try:
            # The recorded name is replaced when a module is imported; below `prefix/` it is the same for all.
            code = compile(text, source.partition("/")[2], "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            continue
        content = b"".join(
            (
                importlib.util.MAGIC_NUMBER,
                _UNCHECKED_HASH,
                importlib.util.source_hash(text),
                _dump(code),
            )
        )
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.utime(stream.fileno(), ns=(mtime_ns, mtime_ns))
        written.append((cached, len(content), hashlib.sha256(content).hexdigest()))
    return written


def _dump(code: CodeType) -> bytes:
    held: list[object] = []
    _hold(code, held)
    return marshal.dumps(code)


def _hold(value: object, held: list[object]) -> None:
    """Reference a constant and all that it is made of once more."""
    held.append(value)
    if isinstance(value, CodeType):
        for part in (
            (value.co_filename, value.co_name, getattr(value, "co_qualname", None)),
            *(value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars),
            value.co_consts,
        ):
            held.append(part)
            for one in part:
                _hold(one, held)
    elif isinstance(value, (tuple, frozenset)):
        for one in value:
            _hold(one, held)

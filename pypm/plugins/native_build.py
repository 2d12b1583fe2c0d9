"""Building the plugins that come with pypm as C sources: in the sandbox, once, kept by what they are made of.

They come as sources because a library is bound to a machine and its C libraries, and a wheel of pypm is not.
The compiler sees the system and the sources, and can write one folder; there is no network and no home.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import sandbox
from pypm.digest import content_digest, sha256_hex
from pypm.errors import PluginError
from pypm.files import remove_tree, storage_errors, write_atomically
from pypm.isolation import isolation_errors
from pypm.isolation.places import Places
from pypm.isolation.variables import BUILD_VARIABLES, HOME, made
from pypm.plugins.failures import output_details, plugin_error
from pypm.plugins.found import HEADER, NativeFound, SourceFound
from pypm.plugins.pins import platform_of
from pypm.plugins.policy import Surroundings
from pypm.regular import read_regular

_BUILD_SECONDS = 300.0
_HINT = "a header may be missing; `s3cache` needs those of libcurl (`libcurl4-openssl-dev`)"
_PROCESSES = 256
_MEMORY_BYTES = 4 << 30
_FILE_BYTES = 256 << 20
_LOG_BYTES = 16 << 20
_LARGEST_BYTES = 64 << 20
_CHECK_BYTES = 64
"""The library's own hash, in hexadecimal, stands before it: half a file is no library."""


def build(found: SourceFound, surroundings: Surroundings, kept: Path) -> NativeFound:
    """Return the library that the sources make, built now unless `kept` has it already.

    Raises:
        PluginError: there is no compiler, or it refused; `details` hold what it said last.
        IsolationError: the sandbox could not be made.
    """
    path = kept / f"{content_digest([found.sha256, *_toolchain(surroundings)])}.built"
    content = _kept(path)
    if content is None:
        content = _compile(found, surroundings)
        with storage_errors(f"make `{kept}`"):
            kept.mkdir(parents=True, exist_ok=True)
        write_atomically(path, sha256_hex(content).encode("ascii") + content)
    return NativeFound(
        name=found.name, path=found.path, content=content, sha256=found.sha256, origin=found.origin
    )


def is_built(found: SourceFound, surroundings: Surroundings, kept: Path) -> bool:
    """Whether `build` would find the library."""
    return _kept(kept / f"{content_digest([found.sha256, *_toolchain(surroundings)])}.built") is not None


def _toolchain(surroundings: Surroundings) -> tuple[str, ...]:
    """What else decides whether a library loads: a cache may be shared by machines of different systems."""
    interpreter = surroundings.interpreter
    newest = next((tag for tag in interpreter.target.tags if "linux" in tag), "")
    return (platform_of(interpreter), newest.rpartition("-")[2])


def _kept(path: Path) -> bytes | None:
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    content = stored[_CHECK_BYTES:]
    return content if stored[:_CHECK_BYTES] == sha256_hex(content).encode("ascii") else None


def _compile(found: SourceFound, surroundings: Surroundings) -> bytes:
    missing = [
        tool for tool in ("make", "cc") if shutil.which(tool, path="/usr/local/bin:/usr/bin:/bin") is None
    ]
    if missing:
        raise _failed(
            found,
            "is built from its C sources, and there is no "
            + " and no ".join(f"`{tool}`" for tool in missing),
            hint="install a C compiler and make (on Debian `apt-get install gcc libc6-dev make`)",
        )
    with storage_errors("make a folder for a plugin"):
        scratch = Path(tempfile.mkdtemp(prefix="plugin-build-", dir=surroundings.scratch)).resolve()
    try:
        name = f"pypm_{found.name.replace('-', '_')}.so"
        # The sources lie beside the Makefile and below the header, wherever pypm is installed.
        # Nobody looks into it with a debugger, and debugging information is a third of the compiler's work.
        settings = ("CFLAGS=-O2", f"OUTPUT={scratch}")
        argv = ("make", "-s", "-C", str(found.path.parent), *settings, f"{scratch}/{name}")
        log = _run(_policy(surroundings, scratch), argv, scratch / "log")
        content = _read_regular(scratch / name, largest_bytes=_LARGEST_BYTES)
        if log.returncode != 0 or content is None:
            cause = "took too long to build" if log.returncode == 124 else "could not be built"
            raise _failed(
                found,
                cause,
                hint=_HINT,
                details=output_details(log.output),
            )
        return content
    finally:
        remove_tree(scratch)


def _read_regular(path: Path, *, largest_bytes: int) -> bytes | None:
    """Return what the build wrote, following no link; None for what is no regular file, or too large."""
    try:
        return read_regular(path, largest_bytes=largest_bytes, follow=False)
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class _Log:
    returncode: int
    output: bytes


def _run(policy: sandbox.Policy, argv: tuple[str, ...], log: Path) -> _Log:
    with storage_errors(f"write `{log}`"), log.open("wb") as output:
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            command = sandbox.Command(
                argv=argv, stdin=nothing, stdout=output.fileno(), stderr=output.fileno()
            )
            with isolation_errors():
                status = sandbox.spawn(policy, command).wait()
        finally:
            os.close(nothing)
    return _Log(status.returncode, _read_regular(log, largest_bytes=_LOG_BYTES) or b"")


def _policy(surroundings: Surroundings, scratch: Path) -> sandbox.Policy:
    places = Places()
    places.show((HEADER.parent,))
    places.show((scratch,), writable=True)
    return sandbox.Policy(
        mounts=places.mounts(),
        network=sandbox.Network.NONE,
        environment=tuple(sorted({**made(None), **BUILD_VARIABLES}.items())),
        limits=sandbox.Limits(
            wall_clock_seconds=_BUILD_SECONDS,
            memory_bytes=_MEMORY_BYTES,
            processes=_PROCESSES,
            file_size_bytes=_FILE_BYTES,
        ),
        hostname="pypm",
        home=str(HOME),
        isolation=surroundings.isolation,
    )


def _failed(found: SourceFound, cause: str, *, hint: str, details: tuple[str, ...] = ()) -> PluginError:
    return plugin_error(found.name, cause, reference="not-built", hint=hint, details=details)

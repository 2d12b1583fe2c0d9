"""Ask an interpreter what it is, once, and remember the answer for as long as its file stays the same."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from pypm.errors import InterpreterError, StorageError
from pypm.files import write_atomically
from pypm.model.target import Interpreter, Target
from pypm.regular import read_regular

_INSIDE = Path(__file__).with_name("inside_interpreter.py")
_TIMEOUT_SECONDS = 20.0
_FORMAT = 1
"""Of the remembered answers; raised when their content changes."""


def ask(executable: Path, remembered: Path) -> Interpreter:
    """Describe an interpreter, from memory when its file has not changed since it was asked.

    `remembered` is the folder of earlier answers; one that cannot be read or written only costs time.

    Raises:
        InterpreterError: it does not start, or is no Python that this pypm can serve.
    """
    real = Path(os.path.realpath(executable))
    try:
        stamp = _stamp(real)
    except OSError as error:
        raise InterpreterError(
            f"`{executable}` cannot be used as Python: {error.strerror}", reference="interpreter-unusable"
        ) from error
    name = hashlib.sha256(os.fsencode(real)).hexdigest()[:32]
    place = remembered / f"{name}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(read_regular(place))
        if known["stamp"] == stamp:
            return _from_plain(known["interpreter"])
    interpreter = describe(real, _run(executable))
    # A launcher script may start another interpreter tomorrow without being changed: remember binaries only.
    if interpreter.executable == real:
        plain = {"stamp": stamp, "interpreter": _to_plain(interpreter)}
        with contextlib.suppress(StorageError, OSError):
            remembered.mkdir(parents=True, exist_ok=True)
            write_atomically(place, json.dumps(plain).encode("ascii"))
    return interpreter


def _stamp(real: Path) -> list[int | str]:
    """What an answer depends on: the file, and the kernel and C library that markers and tags speak of."""
    import platform

    status = real.stat()
    system = platform.uname()
    return [
        _FORMAT,
        status.st_mtime_ns,
        status.st_size,
        status.st_ino,
        system.release,
        system.version,
        _libc(),
    ]


def _run(executable: Path) -> dict[str, Any]:
    """Run the inquiry; `executable` is the path that was found, because a launcher looks at its own name."""
    argv = [str(executable), "-I", "-S", str(_INSIDE)]
    try:
        done = subprocess.run(
            argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=_TIMEOUT_SECONDS, check=True
        )
        answer = json.loads(done.stdout)
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise _unusable(executable, last or f"it ends with {error.returncode}") from error
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise _unusable(executable, str(error)) from error
    if not isinstance(answer, dict):
        raise _unusable(executable, "it does not answer as Python does")
    return answer


def _unusable(executable: Path, why: str) -> InterpreterError:
    return InterpreterError(
        f"`{executable}` cannot be used as Python: {why}",
        reference="interpreter-unusable",
        hint="try to start it by hand, or choose another one with `--python`",
    )


def describe(executable: Path, answer: dict[str, Any]) -> Interpreter:
    """Return the interpreter that an answer describes."""
    identity = (
        f"{answer['implementation']} {answer['version']} ({answer['build']}) [{answer['compiler']}] "
        f"{answer['platform']} {answer['soabi']}"
    )
    library = answer["library"]
    prefix = answer["base_prefix"]
    outside = bool(library) and not library.startswith(f"{prefix}/")
    return Interpreter(
        executable=Path(answer["executable"]),
        version=answer["version"],
        implementation=answer["implementation"],
        cache_tag=answer["cache_tag"],
        base_prefix=Path(prefix),
        exec_prefix=Path(answer["exec_prefix"]),
        stdlib=Path(answer["stdlib"]),
        include=Path(answer["include"]),
        platform=answer["platform"],
        library_paths=(Path(library).parent,) if outside else (),
        target=Target(marker_environment=answer["markers"], tags=_tags(executable, answer)),
        identity=" ".join(identity.split()),
    )


def _tags(executable: Path, answer: dict[str, Any]) -> tuple[str, ...]:
    """Return the wheel tags of another interpreter on this platform.

    The platform part (manylinux, macOS versions) is computed by `packaging` for the machine that pypm runs
    on, so the interpreter must have been built for the same platform and C library.
    """
    from packaging.tags import compatible_tags, cpython_tags, generic_tags, platform_tags

    ours = (sysconfig.get_platform(), _libc())
    if ours != (answer["platform"], answer["libc"]):
        raise _unusable(
            executable,
            f"it was built for `{answer['platform']} {answer['libc']}`, and pypm runs on `{' '.join(ours)}`",
        )
    major, minor, _ = answer["version_info"]
    version, nodot = (major, minor), f"{major}{minor}"
    platforms = list(platform_tags())
    if answer["implementation"] == "cpython":
        own = list(cpython_tags(version, _cpython_abis(answer, nodot), platforms))
        short = f"cp{nodot}"
    else:
        short = f"{'pp' if answer['implementation'] == 'pypy' else answer['implementation']}{nodot}"
        abi = "_".join(answer["soabi"].replace("-", "_").split("_")[:2])
        own = list(generic_tags(short, [abi] if abi else [], platforms))
        # Only PyPy's short name stands before `none-any` for a whole major version too.
        short = "pp3" if answer["implementation"] == "pypy" else short
    return tuple(str(tag) for tag in (*own, *compatible_tags(version, short, platforms)))


def _cpython_abis(answer: dict[str, Any], nodot: str) -> list[str]:
    threads = "t" if answer["free_threaded"] else ""
    legacy = "m" if answer["version_info"] < [3, 8] else ""
    if answer["debug"] and not legacy:
        # Since 3.8 a debug build also loads the extension modules of the ordinary one.
        return [f"cp{nodot}{threads}d", f"cp{nodot}{threads}"]
    return [f"cp{nodot}{threads}{'d' if answer['debug'] else ''}{legacy}"]


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):
        return ""


_PATHS = ("executable", "base_prefix", "exec_prefix", "stdlib", "include")
_TEXTS = ("version", "implementation", "cache_tag", "platform", "identity")


def _to_plain(interpreter: Interpreter) -> dict[str, Any]:
    return {
        **{name: str(getattr(interpreter, name)) for name in (*_PATHS, *_TEXTS)},
        "library_paths": [str(path) for path in interpreter.library_paths],
        "markers": dict(interpreter.target.marker_environment),
        "tags": list(interpreter.target.tags),
    }


def _from_plain(plain: dict[str, Any]) -> Interpreter:
    values: dict[str, Any] = {name: Path(plain[name]) for name in _PATHS}
    values |= {name: plain[name] for name in _TEXTS}
    return Interpreter(
        **values,
        library_paths=tuple(Path(path) for path in plain["library_paths"]),
        target=Target(marker_environment=plain["markers"], tags=tuple(plain["tags"])),
    )

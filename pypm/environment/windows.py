"""What an environment for Windows has in place of links and `#!` lines: all of it is Python's own.

`venv` brings small programs that start the base interpreter; `ensurepip` brings pip, and in it distlib's
launchers, which pip itself puts before every program that it installs. Both belong to the interpreter that
the environment is for, so that nothing has to be shipped, and the processor is always the right one.

A program is the launcher, a `#!` line and a zip archive with the program as `__main__.py`.

Source: Lib/venv (CPython), distlib.scripts (`simple_launcher`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath

from pypm.errors import InterpreterError
from pypm.model.target import Interpreter

_STARTERS = {
    "python.exe": ("venvlauncher.exe", "python.exe"),
    "pythonw.exe": ("venvwlauncher.exe", "pythonw.exe"),
}
"""Name in an environment, and what `venv` calls it: since Python 3.13, and before."""
_LAUNCHERS = {"win-amd64": "t64.exe", "win-arm64": "t64-arm.exe", "win32": "t32.exe"}
"""For programs of the console, by `sysconfig.get_platform`."""
_DISTLIB = "pip/_vendor/distlib/"
_SHEBANG = b"#!"


def interpreters(interpreter: Interpreter) -> dict[str, bytes]:
    """Return the programs that start the base interpreter from within an environment, by name.

    Raises: InterpreterError where the installation does not have them.
    """
    folder = interpreter.stdlib / "venv" / "scripts" / "nt"
    found = {}
    for name, candidates in _STARTERS.items():
        for candidate in candidates:
            if (folder / candidate).is_file():
                found[name] = (folder / candidate).read_bytes()
                break
    if "python.exe" not in found:
        raise InterpreterError(
            f"the Python in `{interpreter.base_prefix}` has no `venv`, so no environment can be made with it",
            reference="no-venv",
            hint="install the whole of Python; the embeddable package leaves it out",
        )
    return found


def program_launcher(interpreter: Interpreter) -> bytes:
    """Return the launcher for programs of the console.

    Raises: InterpreterError where the installation does not have one.
    """
    import zipfile  # Late: other platforms never need it.

    wanted = _DISTLIB + _LAUNCHERS.get(interpreter.platform, "t64.exe")
    for bundle in sorted((interpreter.stdlib / "ensurepip" / "_bundled").glob("pip-*.whl")):
        with zipfile.ZipFile(bundle) as wheel:
            if wanted in wheel.namelist():
                return wheel.read(wanted)
    raise InterpreterError(
        f"the Python in `{interpreter.base_prefix}` has no launcher for programs (`{wanted}` in `ensurepip`)",
        reference="no-launcher",
        hint="install the whole of Python, with pip",
    )


def launched(programs: Mapping[str, bytes], launcher: bytes, python: PurePath) -> dict[str, bytes]:
    """Return programs as Windows starts them: Python ones behind the launcher, all others as they are."""
    made = {}
    for name, content in programs.items():
        if content.startswith(_SHEBANG):
            made[launcher_name(name)] = launched_program(content, launcher, python)
        else:
            made[name] = content
    return made


def launcher_name(name: str) -> str:
    """Return the file name of a program: `tool` and `tool.py` both are `tool.exe`."""
    path = Path(name)
    return f"{path.stem if path.suffix.lower() in ('.py', '.pyw') else name}.exe"


def launched_program(script: bytes, launcher: bytes, python: PurePath) -> bytes:
    """Return launcher, `#!` line and archive; the same bytes whenever it is made.

    The launcher looks for the archive from the end, so it must be the last, and without a comment.
    """
    import io
    import zipfile

    executable = str(python)
    quoted = f'"{executable}"' if " " in executable else executable
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as content:
        content.writestr(zipfile.ZipInfo("__main__.py", (1980, 1, 1, 0, 0, 0)), _without_shebang(script))
    return launcher + f"#!{quoted}\r\n".encode() + archive.getvalue()


def _without_shebang(script: bytes) -> bytes:
    """The script from its second line on: what `shebang` wrote is for other systems, one line or three."""
    first, _, rest = script.partition(b"\n")
    if first == b"#!/bin/sh" and rest.startswith(b"'''exec'"):
        return rest.partition(b"\n' '''\n")[2]
    return rest

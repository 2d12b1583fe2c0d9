"""Programs of an environment: entry points as small scripts, `.data/scripts` with a new first line.

Source: PyPA "Entry points specification"; execve(2) for the limits of the `#!` line.
"""

from __future__ import annotations

import os
from pathlib import Path

from pypm.model.wheel import EntryPoint

_MAX_SHEBANG_BYTES = 127  # BINPRM_BUF_SIZE of older kernels (256 since 5.1), less the newline; macOS has 512

_NEIGHBOUR = b"""'''exec' "$(dirname -- "$(realpath -- "$0")")/%s" "$0" "$@"\n"""


def shebang(python: Path) -> bytes:
    """Return the first line, or lines, that make a script run under `python`.

    The kernel cuts long lines and splits at blanks. Then `/bin/sh` starts the interpreter from the second
    line, which Python reads as the string between triple quotes. A path that is not UTF-8 cannot stand in a
    Python source: such a script finds the interpreter beside itself.
    """
    if not _is_utf8(python):
        return b"#!/bin/sh\n" + _NEIGHBOUR % os.fsencode(python.name) + b"' '''\n"
    line = b"#!" + os.fsencode(python)
    if len(line) <= _MAX_SHEBANG_BYTES and not any(blank in line for blank in (b" ", b"\t", b"\n")):
        return line + b"\n"
    quoted = os.fsencode(python).replace(b"'", b"'\"'\"'")
    return b"#!/bin/sh\n'''exec' '" + quoted + b'\' "$0" "$@"\n' + b"' '''\n"


def _is_utf8(path: Path) -> bool:
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def entry_script(entry: EntryPoint, python: Path) -> bytes:
    """Return the program of an entry point; it imports nothing but what it runs, because every start pays
    for it."""
    head, _, _ = entry.attribute.partition(".")
    body = (
        "# -*- coding: utf-8 -*-\n"
        "import sys\n"
        f"from {entry.module} import {head}\n"
        'if __name__ == "__main__":\n'
        f"    sys.exit({entry.attribute}())\n"
    )
    return shebang(python) + body.encode("utf-8")


def rewritten_script(content: bytes, python: Path) -> bytes:
    """Return a `.data/scripts` file for this environment: its `#!python` line names the interpreter.

    Arguments behind `#!python` are dropped, as installers do: the kernel passes them as one word.
    """
    first, newline, rest = content.partition(b"\n")
    if first.startswith((b"#!python", b"#!pythonw")):
        return shebang(python) + rest if newline else shebang(python)
    return content

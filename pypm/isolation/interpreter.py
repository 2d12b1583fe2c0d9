"""What an interpreter needs to be seen to start, wherever it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pypm.model.target import Interpreter


def interpreter_places(interpreter: Interpreter, *, home: Path) -> tuple[Path, ...]:
    """Return the places that must be readable for the interpreter to run, a hidden home notwithstanding.

    Usually that is its prefix. Where the prefix is so wide that the home lies in it (`~/bin/python3`, with
    `~` as prefix), only the binary, the standard library and the headers are shown.
    """
    prefixes = (interpreter.base_prefix, interpreter.exec_prefix)
    parts = (interpreter.executable, interpreter.stdlib, interpreter.include)
    wide = any(home.resolve().is_relative_to(prefix.resolve()) for prefix in prefixes)
    places = (*(parts if wide else (*prefixes, *parts)), *interpreter.library_paths)
    return tuple(dict.fromkeys(place for place in places if place.exists()))

"""Programs of this machine that run outside of any sandbox: found on `PATH`, and never in a project.

An empty or relative entry of `PATH` is the folder where one stands, which may be a project that was just
cloned; and what lies in a project may have been put there by a package. Neither is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator


def folders_on_path(outside: str | os.PathLike[str] | None) -> Iterator[str]:
    """Yield the absolute folders of `PATH`, in order, but those that lie in the project `outside`."""
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if os.path.isabs(folder) and not is_inside(folder, outside):  # noqa: PTH117 - text, and often
            yield folder


def find_program(name: str, outside: str | os.PathLike[str] | None) -> str | None:
    """Return the first program of this name on `PATH`, behind all links; None where there is none.

    One that leads into the project `outside` is passed over.
    """
    for folder in folders_on_path(outside):
        program = os.path.realpath(os.path.join(folder, name))  # noqa: PTH118
        if os.access(program, os.X_OK) and os.path.isfile(program) and not is_inside(program, outside):  # noqa: PTH113
            return program
    return None


def is_inside(path: str | os.PathLike[str], folder: str | os.PathLike[str] | None) -> bool:
    """Whether a path lies, behind all links, in a folder; in None lies nothing."""
    if folder is None:
        return False
    real, holder = os.path.realpath(path), os.path.realpath(folder)
    return real == holder or real.startswith(holder.rstrip(os.sep) + os.sep)

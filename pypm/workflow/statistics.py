"""What a command used, reached and was refused, as data in a file: for `--stats-file`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import sandbox
from pypm.files import opened_folder, write_atomically

Tell = Callable[[tuple[str, ...], sandbox.ExitStatus], None]
"""Writes what is known about a run of these words. Raises: StorageError."""


@contextlib.contextmanager
def account_in(path: Path) -> Iterator[Tell]:
    """Open the folder of `path` now: the command, which is not over yet, may exchange it for a link.

    Raises: StorageError: there is no such folder.
    """
    with opened_folder(path) as folder:
        yield lambda words, status: write_atomically(path, _as_json(words, status), folder=folder)


def _as_json(words: tuple[str, ...], status: sandbox.ExitStatus) -> bytes:
    """Everything that is known about a run."""
    data = {
        "command": list(words),
        "exit-code": status.returncode,
        "limit": status.limit,
        "limits-reached": [
            {"limit": each.limit, "value": each.value, "count": each.count} for each in status.reached
        ],
        "usage": {name.replace("_", "-"): value for name, value in status.usage.to_plain().items()},
        "network": None if status.network is None else status.network.to_plain(),
    }
    return (json.dumps(data, indent=2, sort_keys=True) + "\n").encode()

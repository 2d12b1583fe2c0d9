"""What a command used, reached and was refused, as data in a file: for `--stats-file`."""

from __future__ import annotations

import json
from pathlib import Path

import sandbox
from pypm.files import write_atomically


def write(path: Path, words: tuple[str, ...], status: sandbox.ExitStatus) -> None:
    """Write everything that is known about a run as JSON. Raises: StorageError."""
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
    write_atomically(path, (json.dumps(data, indent=2, sort_keys=True) + "\n").encode())

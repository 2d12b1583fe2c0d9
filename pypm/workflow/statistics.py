"""What a command used, for `--stats`: as lines for a person, as data for a file."""

from __future__ import annotations

import json
from pathlib import Path

import sandbox
from pypm.files import write_atomically

_MEASURES = {
    "group": "everything together",
    "samples": "sum of the processes, as often as was looked",
    "process": "the largest process",
}


def lines(usage: sandbox.Usage) -> tuple[str, ...]:
    """What was used, one thing a line."""
    cpu = usage.user_seconds + usage.system_seconds
    at_once = "" if usage.processes_at_once is None else f", at most {_inside(usage)} at once"
    return (
        f"wall time    {usage.wall_seconds:.2f} s",
        f"cpu time     {cpu:.2f} s ({usage.user_seconds:.2f} user, {usage.system_seconds:.2f} system)",
        f"peak memory  {usage.peak_memory_bytes / (1 << 20):.1f} MiB ({_MEASURES[usage.memory_of]})",
        f"processes    {usage.processes}{at_once}",
    )


def _inside(usage: sandbox.Usage) -> int:
    """The count of the group without the sandbox's own first process."""
    return max((usage.processes_at_once or 0) - 1, 0)


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

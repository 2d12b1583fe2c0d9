"""The flags that open the sandbox for one run; `pypm.isolation` gives them their meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from pypm.cli.app import Command
from pypm.cli.options import combined, flag

ANY_NETWORK = "*"
"""What a bare `--allow-net` stands for: the network of this machine."""

_HOST = re.compile(
    r"(localhost|(\*\.)?([a-z0-9-]+\.)+[a-z][a-z0-9-]+|\d+(\.\d+){3}|\[[0-9a-f:.]+\])(:\d+)?"
    r"|\d+(\.\d+){3}/\d+|[0-9a-f]*:[0-9a-f:]+(/\d+)?",
    re.IGNORECASE,
)
_SCRIPT_SUFFIXES = (".py", ".pyw", ".sh")

sandbox_flags = combined(
    flag(
        "--allow-net",
        multiple=True,
        metavar="[HOST[:PORT]]",
        help="Reach this host; without one, the network of this machine.",
    ),
    flag("--allow-read", multiple=True, metavar="PATH", help="Let this path be read."),
    flag("--allow-write", multiple=True, metavar="PATH", help="Let this path be written."),
    flag("--allow-env", multiple=True, metavar="NAME", help="Hand this variable in; `AWS_*` is a prefix."),
    flag("--allow-device", multiple=True, metavar="gpu|PATH", help="Let this device be used."),
    flag("--memory", metavar="SIZE", help="No more memory than this: 512M, 2G."),
    flag("--cpus", type=float, metavar="N", help="No more processors than this."),
    flag("--timeout", metavar="DURATION", help="End after this long: 30s, 5m."),
    flag("--pids", type=int, metavar="N", help="No more processes than this."),
    flag("--read-only", is_flag=True, help="Make the whole project read-only."),
    flag(
        "--no-grants", is_flag=True, help="Go without what the project grants itself and you did not trust."
    ),
    flag(
        "--isolation",
        type=click.Choice(["namespaces", "landlock", "none"]),
        help="Use this isolation, which may be a weaker one.",
    ),
)


stats_flags = combined(
    flag("--stats", is_flag=True, help="Say at the end what all processes used: time, memory, processes."),
    flag(
        "--stats-file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write what was used, reached and refused to this file, as JSON.",
    ),
)


class SandboxedCommand(Command):
    """A command with `--allow-net`, whose value may be left out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, with_network_values(args))


def with_network_values(words: list[str]) -> list[str]:
    """Write each `--allow-net` with its value behind `=`, so that the command is never taken for one.

    The next word is the value if it reads like a host and is no file here; `--allow-net=HOST` is exact.
    """
    joined: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word != "--allow-net":
            joined.append(word)
            if word == "--":
                break
            continue
        value = rest.pop(0) if rest and _reads_like_a_host(rest[0]) else ANY_NETWORK
        joined.append(f"--allow-net={value}")
    return joined + rest


def sandbox_values(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Take the sandbox flags out of a command's parameters, under the names of `isolation.parse_flags`."""
    values = {
        name: flags[name.replace("-", "_")]
        for name in (
            "allow-read",
            "allow-write",
            "allow-env",
            "allow-device",
            "memory",
            "cpus",
            "timeout",
            "pids",
            "isolation",
        )
    }
    values["read-only"] = flags["read_only"] or None
    network = tuple(flags["allow_net"])
    values["allow-net"] = True if ANY_NETWORK in network else network
    return values


def _reads_like_a_host(word: str) -> bool:
    if not _HOST.fullmatch(word) or word.endswith(_SCRIPT_SUFFIXES):
        return False
    return not Path(word).exists()

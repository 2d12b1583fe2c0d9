"""`pypm tree`: the locked packages and what they need."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from pypm.cli.app import Command, Invocation
from pypm.cli.options import Count, flag, json_flag

if TYPE_CHECKING:
    from pypm.workflow.tree import Line


@click.command(cls=Command)
@flag("--depth", type=Count(), metavar="N", help="Show no more levels than this below the first.")
@flag("--invert", metavar="NAME", help="Show what needs this package.")
@json_flag
@click.pass_obj
def command(invocation: Invocation, depth: int | None, invert: str | None, as_json: bool) -> None:
    """Show the locked packages as a tree, from the project's own dependencies down."""
    from pypm.workflow.lockfile import read_lock
    from pypm.workflow.tree import reverse_tree, tree

    with invocation.context() as context:
        lock = read_lock(context)
    lines = reverse_tree(lock, invert, depth=depth) if invert else tree(lock, depth=depth)
    if as_json:
        invocation.console.data_json(_nested(lines))
        return
    for line in lines:
        note = f"  {line.note}" if line.note else ""
        invocation.console.data(f"{'    ' * line.depth}{line.name} {line.version or '(source)'}{note}")


def _nested(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """Return each line as data, with those below it inside."""
    roots: list[dict[str, Any]] = []
    below = [roots]
    for line in lines:
        node: dict[str, Any] = {"name": line.name, "version": line.version, "note": line.note, "below": []}
        del below[line.depth + 1 :]
        below[line.depth].append(node)
        below.append(node["below"])
    return roots

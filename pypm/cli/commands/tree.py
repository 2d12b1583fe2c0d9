"""`pypm tree`: the locked packages and what they need."""

from __future__ import annotations

import click

from pypm.cli.app import Command, Invocation
from pypm.cli.options import flag


@click.command(cls=Command)
@flag(
    "--depth", type=click.IntRange(min=0), metavar="N", help="Show no more levels than this below the first."
)
@flag("--invert", metavar="NAME", help="Show what needs this package.")
@click.pass_obj
def command(invocation: Invocation, depth: int | None, invert: str | None) -> None:
    """Show the locked packages as a tree, from the project's own dependencies down."""
    from pypm.workflow.lockfile import read_lock
    from pypm.workflow.tree import reverse_tree, tree

    with invocation.context() as context:
        lock = read_lock(context)
    lines = reverse_tree(lock, invert, depth=depth) if invert else tree(lock, depth=depth)
    for line in lines:
        note = f"  {line.note}" if line.note else ""
        invocation.console.data(f"{'    ' * line.depth}{line.name} {line.version or '(source)'}{note}")

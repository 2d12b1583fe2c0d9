"""`pypm completion`: the script that a shell loads."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from pypm.cli.app import Command, Invocation


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL: `eval "$(pypm completion bash)"`."""
    invocation: Invocation = ctx.obj
    kind = get_completion_class(shell)
    assert kind is not None, "the choice offers only shells that click knows"
    invocation.console.data(kind(ctx.find_root().command, {}, "pypm", "_PYPM_COMPLETE").source())

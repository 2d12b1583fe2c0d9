"""`pypm python`: the interpreters of this machine."""

from __future__ import annotations

import click

from pypm.cli.app import Group, Invocation
from pypm.cli.options import json_flag


@click.group(cls=Group)
def command() -> None:
    """List and find Python interpreters."""


@command.command("list")
@json_flag
@click.pass_obj
def show_list(invocation: Invocation, as_json: bool) -> None:
    """List the interpreters of this machine, the newest first."""
    from pypm.workflow.interpreters import list_interpreters

    with invocation.context() as context:
        found = list_interpreters(context)
    if as_json:
        invocation.console.data_json(
            [
                {
                    "version": one.version,
                    "implementation": one.implementation,
                    "executable": str(one.executable),
                    "platform": one.platform,
                }
                for one in found
            ]
        )
        return
    for one in found:
        invocation.console.data(f"{one.implementation}-{one.version:<10} {one.executable}")


@command.command()
@click.argument("request", required=False)
@click.pass_obj
def find(invocation: Invocation, request: str | None) -> None:
    """Print the interpreter that REQUEST, or the project, would get."""
    from pypm.workflow.interpreters import find_interpreter

    with invocation.context() as context:
        invocation.console.data(str(find_interpreter(context, request).executable))

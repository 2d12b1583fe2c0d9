"""`pypm export`: the lock in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pypm.cli.app import Command, Invocation
from pypm.cli.commands.run import selection_request
from pypm.cli.options import flag, selection_flags, state_flags


@click.command(cls=Command)
@flag(
    "--format",
    "form",
    type=click.Choice(["pylock", "requirements"]),
    default="pylock",
    help="pylock.toml (PEP 751), or a requirements file with hashes.",
)
@flag(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write here in place of stdout."
)
@selection_flags
@state_flags
@click.pass_obj
def command(
    invocation: Invocation,
    /,
    form: str,
    output: Path | None,
    locked: bool,
    frozen: bool,
    **flags: Any,
) -> None:
    """Translate the lock for other installers.

    pylock holds everything; a requirements file what the selected extras and groups need.
    """
    from pypm.files import write_atomically
    from pypm.workflow.export import export
    from pypm.workflow.prepare import Preparation

    preparation = Preparation(selection=selection_request(flags), locked=locked, frozen=frozen)
    with invocation.context() as context:
        content = export(context, form, preparation)
    if output is None:
        invocation.console.data(content.decode("utf-8").rstrip("\n"))
    else:
        write_atomically(output.absolute(), content)

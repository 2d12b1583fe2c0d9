"""`pypm init`: make a project."""

from __future__ import annotations

from pathlib import Path

import click

from pypm.cli.app import Command, Invocation
from pypm.cli.options import flag


@click.command(cls=Command)
@click.argument("path", required=False, type=click.Path(path_type=Path))
@flag("--app", "kind", flag_value="app", envvar=None, help="A program: main.py beside its pyproject.toml.")
@flag("--lib", "kind", flag_value="lib", envvar=None, help="A library: src layout, build system, tests.")
@flag("--script", "kind", flag_value="script", envvar=None, help="One file with its own requirements.")
@flag("--name", metavar="NAME", help="The project's name; else the folder's.")
@flag("--description", default="", metavar="TEXT", help="What it is, in one line.")
@flag(
    "-r",
    "--requirements",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take the dependencies over from a requirements file.",
)
@flag(
    "--from",
    "origin",
    envvar=None,
    metavar="FILE|auto",
    help="Take over a pyproject.toml of poetry, pdm or uv, or a requirements file.",
)
@click.pass_obj
def command(  # noqa: PLR0913, PLR0917 - a parameter a flag, as click has it
    invocation: Invocation,
    /,
    path: Path | None,
    kind: str | None,
    name: str | None,
    description: str,
    requirements: Path | None,
    origin: str | None,
) -> None:
    """Make a project in PATH, or here.

    What is there already is left as it is.
    """
    from pypm.workflow.start import StartRequest, start

    root = (path or invocation.options.project or Path.cwd()).absolute()
    with invocation.context() as context:
        request = StartRequest(
            root=root,
            kind=kind or "app",
            name=name or root.name,
            description=description,
            requirements=requirements,
            origin=origin,
        )
        outcome = start(context, request)
    for note in outcome.notes:
        invocation.console.warn(note)
    for file in outcome.kept:
        invocation.console.detail(f"`{file}` was there already and stays as it is")
    invocation.console.step("Created", f"`{request.name}` in `{root}`: {', '.join(outcome.written)}")

"""`pypm init`: make a project."""

from __future__ import annotations

from pathlib import Path

import click

from pypm.cli.app import Command, Invocation
from pypm.cli.options import flag
from pypm.errors import UsageError


@click.command(cls=Command)
@click.argument("path", required=False, type=click.Path(path_type=Path))
@flag("--app", is_flag=True, envvar=None, help="A program: main.py beside its pyproject.toml.")
@flag("--lib", is_flag=True, envvar=None, help="A library: src layout, build system, tests.")
@flag("--script", is_flag=True, envvar=None, help="One file with its own requirements: PATH may name it.")
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
    name: str | None,
    description: str,
    requirements: Path | None,
    origin: str | None,
    **kinds: bool,
) -> None:
    """Make a project in PATH, or here.

    What is there already is left as it is.
    """
    from pypm.workflow.settings import working_folder
    from pypm.workflow.start import StartRequest, start

    chosen = [kind for kind, is_chosen in kinds.items() if is_chosen]
    if len(chosen) > 1:
        raise UsageError("`--app`, `--lib` and `--script` do not go together", reference="conflicting-flags")
    root, script = (path or invocation.options.project or working_folder()).absolute(), None
    if chosen == ["script"] and root.suffix == ".py":
        root, script, name = root.parent, root.name, name or root.stem
    with invocation.context() as context:
        request = StartRequest(
            root=root,
            kind=chosen[0] if chosen else "app",
            name=name or root.name,
            description=description,
            script=script,
            requirements=requirements,
            origin=origin,
        )
        outcome = start(context, request)
    for note in outcome.notes:
        invocation.console.warn(note)
    for file in outcome.kept:
        invocation.console.detail(f"`{file}` was there already and stays as it is")
    invocation.console.step("Created", f"`{request.name}` in `{root}`: {', '.join(outcome.written)}")

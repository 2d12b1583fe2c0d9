"""`pypm shell`: a shell, or the interpreter, in the project's environment, inside the sandbox."""

from __future__ import annotations

import os
from typing import Any

import click

from pypm.cli.app import Invocation
from pypm.cli.commands.run import selection_request
from pypm.cli.options import flag, selection_flags, state_flags
from pypm.cli.sandbox_flags import SandboxedCommand, sandbox_flags, sandbox_values, stats_flags


@click.command(cls=SandboxedCommand)
@flag("--repl", is_flag=True, help="Open the interpreter in place of a shell.")
@selection_flags
@state_flags
@sandbox_flags
@stats_flags
@flag("--profile", metavar="NAME", help="Use this profile of [tool.pypm.sandbox].")
@flag("--explain", is_flag=True, help="Open nothing; print what the shell would be allowed.")
@click.pass_obj
def command(  # noqa: PLR0913, PLR0917 - a parameter a flag, as click has it
    invocation: Invocation,
    /,
    repl: bool,
    locked: bool,
    frozen: bool,
    profile: str | None,
    explain: bool,
    **flags: Any,
) -> int:
    """Open a shell in the project's environment, inside the sandbox."""
    from pypm.workflow.run import RunRequest, run
    from pypm.workflow.shells import shell_words

    with invocation.context() as context:
        request = RunRequest(
            words=("python",) if repl else shell_words(context, os.environ),
            selection=selection_request(flags),
            locked=locked,
            frozen=frozen,
            profile=profile or "shell",
            sandbox=sandbox_values(flags),
            stats=flags["stats"],
            stats_file=flags["stats_file"],
            explain=explain,
        )
        outcome = run(context, request)
    if outcome.explanation is not None:
        invocation.console.data(outcome.explanation)
    return outcome.exit_code

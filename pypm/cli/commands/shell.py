"""`pypm shell`: a shell, or the interpreter, in the project's environment, inside the sandbox."""

from __future__ import annotations

import os
from typing import Any

import click

from pypm.cli.app import Invocation
from pypm.cli.commands.run import selection_request
from pypm.cli.explanation import explain_json_flag, require_explain, show_explanation
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
@explain_json_flag
@click.pass_obj
def command(  # noqa: PLR0913, PLR0917 - a parameter a flag, as click has it
    invocation: Invocation,
    /,
    repl: bool,
    locked: bool,
    frozen: bool,
    profile: str | None,
    explain: bool,
    as_json: bool,
    **flags: Any,
) -> int:
    """Open a shell in the project's environment, inside the sandbox."""
    from pypm.workflow.run import RunRequest, run
    from pypm.workflow.shells import shell_words

    require_explain(explain, as_json=as_json)
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
            without_grants=flags["no_grants"],
        )
        outcome = run(context, request)
    if outcome.explanation is not None:
        show_explanation(invocation, outcome.explanation, as_json=as_json)
    return outcome.exit_code

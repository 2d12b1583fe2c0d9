"""`pypm run`: a command in the project's environment, inside the sandbox."""

from __future__ import annotations

from typing import Any

import click

from pypm.cli.app import Invocation
from pypm.cli.explanation import explain_json_flag, require_explain, show_explanation
from pypm.cli.options import flag, selection_flags, state_flags
from pypm.cli.sandbox_flags import SandboxedCommand, sandbox_flags, sandbox_values, stats_flags


@click.command(
    cls=SandboxedCommand,
    context_settings={"allow_interspersed_args": False},
    epilog="Exits with the command's own code; 124 timed out, 125 no sandbox, 126 not executable, 127 none.",
)
@flag("-m", "--module", is_flag=True, help="COMMAND is a module: `python -m COMMAND`.")
@selection_flags
@state_flags
@flag("--no-sync", is_flag=True, help="Prepare nothing: fail when a locked wheel is not in the store.")
@sandbox_flags
@stats_flags
@flag("--profile", metavar="NAME", help="Use this profile of [tool.pypm.sandbox].")
@flag("--explain", is_flag=True, help="Run nothing; print what the command would be allowed.")
@explain_json_flag
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARGS]...")
@click.pass_obj
def command(  # noqa: PLR0913, PLR0917 - a parameter a flag, as click has it
    invocation: Invocation,
    /,
    words: tuple[str, ...],
    module: bool,
    locked: bool,
    frozen: bool,
    no_sync: bool,
    profile: str | None,
    explain: bool,
    as_json: bool,
    **flags: Any,
) -> int:
    """Run COMMAND in the project's environment, inside the sandbox.

    COMMAND is a program of the environment or the system, or a script of the project ending in `.py`.
    The project is writable but for the files that decide what runs; nothing else is, and there is no network.
    """
    from pypm.workflow.run import RunRequest, run

    require_explain(explain, as_json=as_json)
    request = RunRequest(
        words=words,
        module=module,
        selection=selection_request(flags),
        locked=locked,
        frozen=frozen,
        no_sync=no_sync,
        profile=profile or "run",
        sandbox=sandbox_values(flags),
        stats=flags["stats"],
        stats_file=flags["stats_file"],
        explain=explain,
        without_grants=flags["no_grants"],
    )
    with invocation.context() as context:
        outcome = run(context, request)
    if outcome.explanation is not None:
        show_explanation(invocation, outcome.explanation, as_json=as_json)
    return outcome.exit_code


def selection_request(flags: dict[str, Any]) -> Any:
    """Take the selection flags out of a command's parameters."""
    from dataclasses import fields

    from pypm.workflow.selection import SelectionRequest

    return SelectionRequest(**{field.name: flags[field.name] for field in fields(SelectionRequest)})

"""`pypm sandbox`: what this machine can enforce, and the policy of a command."""

from __future__ import annotations

from typing import Any

import click

from pypm.cli.app import Group, Invocation
from pypm.cli.explanation import show_explanation
from pypm.cli.options import flag, json_flag, selection_flags
from pypm.cli.sandbox_flags import SandboxedCommand, sandbox_flags, sandbox_values


@click.group(cls=Group)
def command() -> None:
    """Show what this machine can enforce, and the policy of a command."""


@command.command()
@json_flag
@click.pass_obj
def info(invocation: Invocation, as_json: bool) -> int:
    """Try what this machine can enforce, and say why not where it cannot; exit 1 when it cannot."""
    from pypm.workflow.host import report_host

    report = report_host()
    if as_json:
        invocation.console.data_json(report.to_plain())
    else:
        for line in report.lines():
            invocation.console.data(line)
        if report.host.cause is not None:
            invocation.console.warn(report.host.cause, hint=report.host.mend)
    return 0 if report.is_strongest else 1


@command.command(cls=SandboxedCommand, context_settings={"allow_interspersed_args": False})
@flag("-m", "--module", is_flag=True, help="COMMAND is a module: `python -m COMMAND`.")
@selection_flags
@sandbox_flags
@flag("--profile", default="run", metavar="NAME", help="Explain this profile of [tool.pypm.sandbox].")
@json_flag
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND [ARGS]...]")
@click.pass_obj
def explain(
    invocation: Invocation, /, words: tuple[str, ...], module: bool, profile: str, as_json: bool, **flags: Any
) -> None:
    """Print the exact policy that COMMAND would get, as `pypm run --explain COMMAND` does; nothing is run."""
    from pypm.cli.commands.run import selection_request
    from pypm.workflow.run import RunRequest, explained

    request = RunRequest(
        words=words or ("true",),
        module=module,
        selection=selection_request(flags),
        profile=profile,
        sandbox=sandbox_values(flags),
        explain=True,
    )
    with invocation.context() as context:
        explanation = explained(context, request)
    show_explanation(invocation, explanation, as_json=as_json)

"""`pypm sandbox`: what this machine can enforce, and the policy of a command."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from pypm.cli.app import Group, Invocation
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
    from pypm.workflow.host import probe_host

    host = probe_host()
    if as_json:
        invocation.console.data_json(asdict(host))
        return 0 if host.namespaces else 1
    lines = {
        "platform": f"{host.platform} {host.machine}, kernel {host.kernel}",
        "isolation": "namespaces" if host.namespaces else "not available",
        "own /proc": _yes(host.process_view),
        "layers": _yes(host.overlay),
        "landlock": f"ABI {host.landlock_abi}" if host.landlock_abi else "no",
    }
    for name, value in lines.items():
        invocation.console.data(f"{name:<12} {value}")
    if host.cause is not None:
        invocation.console.warn(host.cause, hint=host.mend)
    return 0 if host.namespaces else 1


@command.command(cls=SandboxedCommand)
@selection_flags
@sandbox_flags
@flag("--profile", default="run", metavar="NAME", help="Explain this profile of [tool.pypm.sandbox].")
@json_flag
@click.pass_obj
def explain(invocation: Invocation, /, profile: str, as_json: bool, **flags: Any) -> None:
    """Print the exact policy that a command of the project would get."""
    from pypm.cli.commands.run import selection_request
    from pypm.workflow.run import RunRequest, explained

    request = RunRequest(
        words=("true",),
        selection=selection_request(flags),
        profile=profile,
        sandbox=sandbox_values(flags),
        explain=True,
    )
    with invocation.context() as context:
        explanation = explained(context, request)
    if as_json:
        invocation.console.data_json(explanation.to_plain())
    else:
        for line in explanation.lines():
            invocation.console.data(line)


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"

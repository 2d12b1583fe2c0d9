"""`pypm audit`: what the world says today of what was locked."""

from __future__ import annotations

import click

from pypm.cli.app import Command, Invocation
from pypm.cli.options import flag, index_flags, json_flag

_EXIT_CHANGED = 3
"""As for every hash that does not fit."""


@click.command(cls=Command)
@flag("--lock", "lock", is_flag=True, help="Ask the indexes for every locked artifact (what is done anyway).")
@index_flags
@json_flag
@click.pass_obj
def command(  # noqa: PLR0913, PLR0917 - a parameter a flag, as click has it
    invocation: Invocation,
    /,
    lock: bool,
    as_json: bool,
    default_index: str | None,
    index: tuple[str, ...],
    find_links: tuple[str, ...],
) -> int:
    """Ask the indexes whether they still vouch for every locked artifact.

    Names those whose hash changed (exit code 3), and those that vanished or were yanked since (1).
    """
    from pypm.workflow.audit import audit_lock

    with invocation.context(default_index=default_index, index=index, find_links=find_links) as context:
        outcome = audit_lock(context)
    console = invocation.console
    if as_json:
        console.data_json(outcome.as_data())
    else:
        for one in outcome.findings:
            console.data(f"{one.what:<8} {one.package} {one.version}  {one.filename}  {one.detail}".rstrip())
    if outcome.without_hash:
        console.detail(f"{outcome.without_hash} artifacts are listed without a hash")
    if outcome.has_changed_bytes:
        console.warn("an index has other files under locked names: find out why before you use them")
        return _EXIT_CHANGED
    return 1 if outcome.findings else 0

"""`pypm sync`: make .venv exactly what the lock says."""

from __future__ import annotations

from typing import Any

import click

from pypm.cli.app import Command, Invocation
from pypm.cli.options import flag, index_flags, json_flag, selection_flags, state_flags


@click.command(cls=Command)
@selection_flags
@state_flags
@flag("--check", is_flag=True, help="Write nothing; exit 1 when .venv is not what the lock says.")
@flag("--dry-run", is_flag=True, help="Write nothing; print what would be done.")
@flag("--expect-digest", metavar="sha256:HEX", help="Fail unless the environment has this digest.")
@index_flags
@json_flag
@click.pass_obj
def command(  # noqa: PLR0913, PLR0917 - a parameter a flag, as click has it
    invocation: Invocation,
    /,
    locked: bool,
    frozen: bool,
    check: bool,
    dry_run: bool,
    expect_digest: str | None,
    as_json: bool,
    default_index: str | None,
    index: tuple[str, ...],
    find_links: tuple[str, ...],
    **selection: Any,
) -> int:
    """Make .venv exactly what the lock says, and print the environment's digest.

    What is not locked is removed. A stale lock is made anew first, unless --locked or --frozen is given.
    """
    from pypm.workflow.selection import SelectionRequest
    from pypm.workflow.sync import SyncRequest, sync

    request = SyncRequest(
        selection=SelectionRequest(**selection),
        locked=locked,
        frozen=frozen,
        check=check,
        dry_run=dry_run,
        expected_digest=expect_digest,
    )
    with invocation.context(default_index=default_index, index=index, find_links=find_links) as context:
        outcome = sync(context, request)
    if as_json:
        invocation.console.data_json(outcome.as_data())
    elif outcome.digest is not None:
        invocation.console.data(f"sha256:{outcome.digest}")
    return 1 if check and outcome.changed else 0

"""`pypm verify`: prove that lock, store and .venv are what was locked."""

from __future__ import annotations

from typing import Any

import click

from pypm.cli.app import Command, Invocation
from pypm.cli.commands.run import selection_request
from pypm.cli.options import flag, json_flag, selection_flags

_EXIT_DIFFERENT = 3
"""As for every hash that does not fit."""


@click.command(cls=Command)
@selection_flags
@flag("--frozen", is_flag=True, help="Use the lock as it is, without looking at the project.")
@flag("--repair", is_flag=True, help="Make anew what differs, from what the lock vouches for.")
@json_flag
@click.pass_obj
def command(
    invocation: Invocation,
    /,
    frozen: bool,
    repair: bool,
    as_json: bool,
    **flags: Any,
) -> int:
    """Prove that the lock, the store and .venv are what was locked.

    Names every file that was changed, added or removed, with its package, and ends with 3 if there is one.
    """
    from pypm.workflow.verify import VerifyRequest, verify

    request = VerifyRequest(selection=selection_request(flags), frozen=frozen, repair=repair)
    with invocation.context() as context:
        outcome = verify(context, request)
    console = invocation.console
    if as_json:
        console.data_json(outcome.as_data())
    else:
        for one in outcome.differences:
            console.data(f"{one.what:<8} {one.package or '-':<20} {one.path}")
    if outcome.is_sound:
        return 0
    hint = "`pypm verify --repair` makes it anew"
    if outcome.other_home is not None:
        hint = (
            f"`.venv` says that it was made for the Python in `{outcome.other_home}`, which is not this "
            f"project's: verify for that one with `--python`, or make it anew with `pypm verify --repair`"
        )
    console.warn("the environment is not the one that was locked", hint=hint)
    return _EXIT_DIFFERENT

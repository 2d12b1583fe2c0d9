"""`pypm lock`: resolve the requirements into pypm.lock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pypm.cli.app import Command, Invocation
from pypm.cli.options import flag, index_flags, json_flag, resolution_flags
from pypm.errors import LockError
from pypm.paths import LOCK_FILE


@click.command(cls=Command)
@flag("--check", is_flag=True, help="Write nothing; exit 1 when the lock would change.")
@flag("--dry-run", is_flag=True, help="Write nothing; print what would change.")
@flag("--refresh", is_flag=True, help="Ask for file lists, sizes and hashes anew; no pin moves.")
@flag("-U", "--upgrade", is_flag=True, help="Let every pin move to the newest version that fits.")
@flag(
    "-P",
    "--upgrade-package",
    multiple=True,
    metavar="NAME",
    help="Let this pin move; repeatable. `NAME==VERSION` moves it there.",
)
@flag("--merkle", is_flag=True, help="State the Merkle root of every wheel.")
@flag("--sign", is_flag=True, help="Sign the lock, into pypm.lock.sig.")
@flag(
    "--key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The SSH key to sign with; otherwise the one that git signs with.",
)
@index_flags
@resolution_flags
@json_flag
@click.pass_obj
def command(  # noqa: PLR0913, PLR0917 - a parameter a flag, as click has it
    invocation: Invocation,
    /,
    check: bool,
    dry_run: bool,
    refresh: bool,
    upgrade: bool,
    upgrade_package: tuple[str, ...],
    merkle: bool,
    sign: bool,
    key: Path | None,
    as_json: bool,
    **resolving: Any,
) -> int:
    """Resolve the project's requirements into pypm.lock.

    The lock holds for every platform and Python that the project admits. Pins that still fit stay.
    """
    from pypm.workflow.lock import LockRequest, lock

    request = LockRequest(
        check=check,
        dry_run=dry_run,
        refresh=refresh,
        upgrade=upgrade,
        upgrade_packages=upgrade_package,
        merkle=merkle,
        sign=sign or key is not None,
        key=key,
        renew_pins=True,
    )
    with invocation.context(**resolving) as context:
        outcome = lock(context, request)
    if as_json:
        invocation.console.data_json(
            {
                "changed": outcome.changed,
                "packages": len(outcome.lock.packages),
                "changes": [
                    {"name": change.name, "before": change.before, "after": change.after}
                    for change in outcome.changes
                ],
            }
        )
    if check and outcome.changed:
        raise LockError(
            f"`{LOCK_FILE}` would change",
            reference="lock-would-change",
            hint="run `pypm lock` and commit the result",
        )
    return 0

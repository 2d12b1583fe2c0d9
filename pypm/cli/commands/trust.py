"""`pypm trust`: the user's consent to what a project grants its own runs, shells and builds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pypm.cli.app import Command, Invocation
from pypm.cli.consent import confirmed
from pypm.cli.options import flag, json_flag
from pypm.display import harmless
from pypm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pypm.workflow.context import Context
    from pypm.workflow.trust import Asked


@click.command(cls=Command, epilog="`pypm plugin trust NAME` is the same for what a plugin is granted.")
@click.option(
    "--show", is_flag=True, help="Change nothing; print what is granted, and what PYPM_TRUST takes."
)
@click.option("--revoke", is_flag=True, help="Forget an earlier consent.")
@flag("-y", "--yes", is_flag=True, envvar=None, help="Consent without being asked.")
@json_flag
@click.pass_obj
def command(invocation: Invocation, show: bool, revoke: bool, yes: bool, as_json: bool) -> int:
    """Consent to what this project grants itself beyond the default policy.

    It is granted by [tool.pypm.sandbox]: network, files, variables, devices, weaker isolation; and by
    editable dependencies outside: compiled modules are written there. Consent is to exactly this, in this
    folder; a change asks again.
    """
    from pypm.workflow.trust import asked_for, give_consent, withdraw_consent

    if show + revoke + yes > 1:
        raise UsageError("`--show`, `--revoke` and `--yes` do not go together", reference="conflicting-flags")
    console = invocation.console
    with invocation.context() as context:
        if revoke:
            if withdraw_consent(context):
                console.step("Revoked", f"the consent to what `{context.consent_place}` grants itself")
            else:
                console.step("Nothing", f"was consented to in `{context.consent_place}`")
            return 0
        asked = asked_for(context)
        if show or as_json:
            _show(invocation, context, asked, as_json=as_json)
            return 0
        if not asked:
            console.step("Nothing", f"to consent to: `{context.consent_place}` keeps to the default policy")
            return 0
        if all(each.consented for each in asked):
            console.step("Trusted", f"`{context.consent_place}` already, as it is now")
            return 0
        console.ask_about(f"`{context.consent_place}` grants itself more than the default policy:", ())
        for line in _lines(asked):
            console.data(line)
        if not yes and not confirmed("Let it have this?"):
            console.warn("nothing was changed", hint="`--yes` consents without being asked")
            return 1
        give_consent(context, asked)
        console.step("Trusted", f"`{context.consent_place}`, as it is now")
    return 0


def _show(invocation: Invocation, context: Context, asked: tuple[Asked, ...], *, as_json: bool) -> None:
    from pypm.workflow.trust import VARIABLE, digest_of_all

    digest = f"sha256:{digest_of_all(context)}" if asked else None
    if as_json:
        profiles = {
            each.profile: {"grants": list(each.lines()), "consented": each.consented} for each in asked
        }
        invocation.console.data_json({"place": context.consent_place, "profiles": profiles, "digest": digest})
        return
    for line in _lines(asked):
        invocation.console.data(line)
    if digest is None:
        invocation.console.step(
            "Nothing", f"to consent to: `{context.consent_place}` keeps to the default policy"
        )
    else:
        invocation.console.data(f"{VARIABLE}={digest}")


def _lines(asked: tuple[Asked, ...]) -> Iterator[str]:
    """One grant a line, behind the name of its profile; a path of several lines looks like no further one."""
    names = {each: _name(each.profile) for each in asked}
    width = max((len(name) for name in names.values()), default=0)
    for each, name in names.items():
        for line in each.lines():
            yield f"{name:<{width}}  {harmless(line)}" + (
                "" if each.consented else "  (waits for your consent)"
            )


def _name(profile: str) -> str:
    from pypm.workflow.trust import EVERYWHERE, MODULES

    if profile.startswith(MODULES):
        return "compiled modules"
    return "builds and unpacking" if profile == EVERYWHERE else profile

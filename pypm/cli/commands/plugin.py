"""`pypm plugin`: which plugins there are, what one wants, the user's consent, and a new one to begin with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pypm.cli.app import Group, Invocation
from pypm.cli.consent import confirmed
from pypm.cli.options import json_flag
from pypm.display import harmless

if TYPE_CHECKING:
    from pypm.model.lock import Lock
    from pypm.workflow.context import Context
    from pypm.workflow.plugin_commands import Checked, Consent


@click.group(cls=Group)
def command() -> None:
    """List, check, trust, build and start plugins."""


@command.command("list")
@json_flag
@click.pass_obj
def show_list(invocation: Invocation, as_json: bool) -> None:
    """List the plugins of the project, and the others that are there; nothing is loaded."""
    from pypm.workflow.plugin_commands import list_plugins

    with invocation.context() as context:
        listed = list_plugins(context, _lock(context))
    rows = [
        {
            "name": item.name,
            "enabled": item.enabled,
            "state": item.state,
            "path": str(item.found.path) if item.found else None,
            "sha256": item.found.sha256 if item.found else None,
        }
        for item in listed
    ]
    if as_json:
        invocation.console.data_json(rows)
        return
    names = max((len(str(row["name"])) for row in rows), default=0)
    states = max((len(str(row["state"])) for row in rows), default=0)
    for row in rows:
        line = f"{row['name']:<{names}}  {row['state']:<{states}}  {row['path'] or ''}"
        invocation.console.data(line.rstrip())


@command.command()
@click.argument("name", metavar="NAME|PATH")
@json_flag
@click.pass_obj
def check(invocation: Invocation, name: str, as_json: bool) -> int:
    """Load a plugin in a sandbox with no permissions and say what it is and wants.

    Exit code 1 when the project uses it and does not grant what it needs.
    """
    from pypm.workflow.plugin_commands import check_plugin

    if os.sep not in name and "." not in name:
        name = _typed(name)
    with invocation.context() as context:
        checked = check_plugin(context, name, _lock(context))
    facts = _facts(checked)
    if as_json:
        invocation.console.data_json(facts)
    else:
        for key, value in facts.items():
            text = " ".join(value) if isinstance(value, list) else value
            invocation.console.data(f"{key:<12} {text or 'none'}")
    if checked.refusal is None:
        return 0
    invocation.console.warn(checked.refusal.message, hint=checked.refusal.hint)
    return 1


@command.command()
@click.argument("name")
@click.option("--show", is_flag=True, help="Change nothing; print the token that PYPM_TRUST_PLUGINS takes.")
@click.option("--revoke", "--withdraw", "withdraw", is_flag=True, help="Forget an earlier consent.")
@click.option("-y", "--yes", is_flag=True, help="Consent without being asked.")
@click.pass_obj
def trust(invocation: Invocation, name: str, show: bool, withdraw: bool, yes: bool) -> int:
    """Consent to what this project grants a plugin: network, variables, files outside the project.

    Consent is to exactly this: the plugin's bytes, its grants and its options, in this project.
    """
    from pypm.workflow.plugin_commands import consent_about, give_consent, withdraw_consent

    name = _typed(name)
    with invocation.context() as context:
        if withdraw:
            withdraw_consent(context, name)
            invocation.console.step("Withdrew", f"the consent to `{name}` in `{context.root}`")
            return 0
        consent = consent_about(context, name, _lock(context))
        if show:
            invocation.console.data(f"{consent.plugin}@{consent.token}")
            return 0
        _tell(invocation, consent, context.root)
        if not yes and not confirmed("Let it have this?"):
            invocation.console.warn("nothing was changed", hint="`--yes` consents without being asked")
            return 1
        give_consent(context, consent)
        invocation.console.step("Trusted", f"`{consent.plugin}` in `{context.root}`, as it is now")
    return 0


@command.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_obj
def build(invocation: Invocation, names: tuple[str, ...]) -> None:
    """Build the plugins that come with pypm, in the sandbox; otherwise their first use does.

    They are C sources: a compiler and make must be there, and for `s3cache` the headers of libcurl.
    """
    from pypm.workflow.plugin_commands import build_plugins

    wanted = [_typed(name) for name in names]
    with invocation.context() as context:
        for name in build_plugins(context, wanted):
            invocation.console.step("Built", f"the plugin `{name}`")


@command.command()
@click.argument("name")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.pass_obj
def new(invocation: Invocation, name: str, folder: Path | None) -> None:
    """Write the C source of a plugin, its Makefile and its test to FOLDER (NAME by default)."""
    from pypm.plugins.scaffold import scaffold

    for path in scaffold(_typed(name), Path(name) if folder is None else folder):
        invocation.console.step("Wrote", str(path))


def _typed(name: str) -> str:
    """Return a plugin's name as pypm spells it.

    Raises: UsageError: it cannot be one.
    """
    from pypm.errors import ConfigurationError, UsageError
    from pypm.plugins.found import normal_name

    try:
        return normal_name(name)
    except ConfigurationError as error:
        raise UsageError(error.message, reference=error.reference, hint=error.hint) from error


def _lock(context: Context) -> Lock | None:
    """The project's lock, where there is a project and it has one."""
    from pypm.workflow.lockfile import read_lock_if_any

    return None if context.settings.root is None else read_lock_if_any(context)


def _facts(checked: Checked) -> dict[str, Any]:
    said = checked.descriptor
    return {
        "name": said.name,
        "version": said.version,
        "summary": said.summary,
        "stages": sorted(stage.value for stage in said.stages),
        "permissions": [item.text + ("?" if item.optional else "") for item in said.permissions],
        "withheld": list(checked.withheld),
        "path": str(checked.found.path),
        "sha256": checked.found.sha256,
    }


def _tell(invocation: Invocation, consent: Consent, root: Path) -> None:
    console = invocation.console
    # Each in one line: a path or an option of several must not look like further lines of what is granted.
    console.data(f"plugin   {consent.plugin}, {harmless(str(consent.found.path))}")
    console.data(f"sha256   {consent.found.sha256}")
    console.data(f"project  {harmless(str(root))}")
    for line in consent.grants or ("nothing",):
        console.data(f"granted  {harmless(line)}")
    for key, value in consent.options:
        console.data(f"option   {harmless(key)} = {harmless(value)}")

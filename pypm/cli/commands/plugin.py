"""`pypm plugin`: which plugins there are, what one wants, and a new one to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pypm.cli.app import Group, Invocation
from pypm.cli.options import json_flag

if TYPE_CHECKING:
    from pypm.workflow.plugins import Checked


@click.group(cls=Group)
def command() -> None:
    """List, check and start plugins."""


@command.command("list")
@json_flag
@click.pass_obj
def show_list(invocation: Invocation, as_json: bool) -> None:
    """List the plugins of the project, and the others that are there; nothing is loaded."""
    from pypm.workflow.plugins import list_plugins

    with invocation.context() as context:
        listed = list_plugins(context)
    rows = [
        {
            "name": item.name,
            "enabled": item.enabled,
            "path": str(item.found.path) if item.found else None,
            "sha256": item.found.sha256 if item.found else None,
        }
        for item in listed
    ]
    if as_json:
        invocation.console.data_json(rows)
        return
    for row in rows:
        state = "enabled" if row["enabled"] else "-"
        invocation.console.data(f"{row['name']:<20} {state:<8} {row['path'] or 'not installed'}")


@command.command()
@click.argument("name", metavar="NAME|PATH")
@json_flag
@click.pass_obj
def check(invocation: Invocation, name: str, as_json: bool) -> int:
    """Load a plugin in a sandbox with no permissions and say what it is and wants.

    Exit code 1 when the project uses it and does not grant what it needs.
    """
    from pypm.workflow.plugins import check_plugin

    with invocation.context() as context:
        checked = check_plugin(context, name)
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
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.pass_obj
def new(invocation: Invocation, name: str, folder: Path | None) -> None:
    """Write the C source of a plugin, its Makefile and its test to FOLDER (NAME by default)."""
    from pypm.plugins.scaffold import scaffold

    for path in scaffold(name, Path(name) if folder is None else folder):
        invocation.console.step("Wrote", str(path))


def _facts(checked: Checked) -> dict[str, Any]:
    said = checked.descriptor
    return {
        "name": said.name,
        "version": said.version,
        "summary": said.summary,
        "stages": sorted(stage.value for stage in said.stages),
        "permissions": [item.text + ("?" if item.optional else "") for item in said.permissions],
        "path": str(checked.found.path),
        "sha256": checked.found.sha256,
    }

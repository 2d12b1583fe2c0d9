"""`pypm self`: about pypm itself."""

from __future__ import annotations

import platform
import sys

import click

from pypm import __version__
from pypm.cli.app import Group, Invocation
from pypm.cli.options import json_flag


@click.group(cls=Group)
def command() -> None:
    """About pypm itself."""


@command.command()
@json_flag
@click.pass_obj
def version(invocation: Invocation, as_json: bool) -> None:
    """Print the version of pypm and of the Python that runs it."""
    if as_json:
        invocation.console.data_json(
            {"version": __version__, "python": platform.python_version(), "executable": sys.executable}
        )
    else:
        invocation.console.data(f"pypm {__version__}")
        invocation.console.data(f"Python {platform.python_version()} ({sys.executable})")

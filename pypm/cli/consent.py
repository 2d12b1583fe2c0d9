"""Asking the user for a consent, which only a person at a terminal can give."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pypm.cli.output import Console


def can_ask() -> bool:
    """Whether somebody sits there: both ends of a terminal, and no build server's."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not os.environ.get("CI")


def asker(console: Console) -> Callable[[str, tuple[str, ...]], bool] | None:
    """Return what asks whether a project may have what it grants itself; None where nobody can be asked."""
    if not can_ask():
        return None

    def ask(what: str, lines: tuple[str, ...]) -> bool:
        console.release_terminal()
        console.ask_about(what, lines)
        return confirmed("Let it have this from now on?")

    return ask


def confirmed(question: str) -> bool:
    """Ask on the terminal; without one, nobody can have consented."""
    return can_ask() and click.confirm(question, default=False, err=True)

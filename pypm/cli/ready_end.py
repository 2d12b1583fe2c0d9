"""The end of a command that was run from a ready plan, where its exit code alone does not tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pypm.cli.output import Console
from pypm.workflow.endings import remarks, untold_end
from sandbox import ExitStatus

if TYPE_CHECKING:
    from pypm.workflow.plans import Call
    from sandbox import Outcome


def console_of(call: Call) -> Console:
    """Return the console that the command line asks for."""
    return Console(color=call.color, verbosity=-1 if call.is_quiet else 0)


def tell_met(ended: Outcome, console: Console) -> None:
    """Say what was refused on the network, and which limits were met."""
    for line in remarks(ExitStatus.from_told(ended.told())):
        console.remark(line)


def tell_end(ended: Outcome, word: str, console: Console) -> int:
    """Say why there was no end of its own; return the exit code."""
    untold = untold_end(ExitStatus.from_told(ended.told()), word)
    return ended.returncode if untold is None else console.fail(untold)

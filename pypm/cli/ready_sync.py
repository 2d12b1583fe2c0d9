"""`pypm sync` from a ready plan: the environment is known, and only has to be compared and written.

Whatever goes wrong here is left to the whole program, which mends it or says what is wrong.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from pypm.cli.interrupts import EXIT_INTERRUPTED, Interrupts
from pypm.cli.output import Console
from pypm.workflow.placing import compare, from_data, nothing_to_do, place, tell_placed, tidy

if TYPE_CHECKING:
    from pypm.workflow.plans import Call


def sync(payload: dict[str, Any], call: Call) -> int | None:
    """Write the environment that the plan describes; return the exit code, or None if that was impossible."""
    started = time.monotonic()
    placement = from_data(payload["placement"])
    console = Console(color=call.color, verbosity=-1 if call.is_quiet else 0)
    interrupts = Interrupts()
    interrupts.install()
    try:
        comparison = compare(placement)
        if comparison.changed:
            place(placement, console)
            tell_placed(placement, comparison, console, since=started)
        else:
            tidy(placement)  # Whoever wrote it may have been killed before the old one was removed.
            console.step(*nothing_to_do(placement))
        sys.stdout.write(payload["stdout"])
        sys.stdout.flush()
    except KeyboardInterrupt:
        interrupts.over()
        console.interrupted()
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return 0
    except Exception:
        interrupts.uninstall()
        return None
    return 0

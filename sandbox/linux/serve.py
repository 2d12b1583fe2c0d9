"""What a supervisor in a process of its own does, however it came to be: run a plan, tell its end."""

from __future__ import annotations

import marshal
import os

from sandbox.errors import SandboxError
from sandbox.linux import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from sandbox.linux.operations import Plan


def serve(plan: Plan, request: launch.Request, result: int) -> NoReturn:
    """Run `plan`, write how it ended to the pipe `result` as `Process` reads it, and end this process."""
    run_plan = launch.run_plan
    told: tuple[Any, ...]
    try:
        if "private" in plan:
            from sandbox.linux.run_in_place import run_in_place

            run_plan = run_in_place
        told = ("ended", run_plan(plan, request).told())
    except (SandboxError, OSError) as error:
        stage, number = getattr(error, "stage", "launch"), getattr(error, "errno", 0)
        told = ("failed", stage, number or 0, str(error), getattr(error, "hint", None) or "")
    try:
        with open(result, "wb") as stream:
            marshal.dump(told, stream)
    except BrokenPipeError:
        os._exit(1)  # Whoever asked was killed: there is nobody to tell, on the terminal least of all.
    os._exit(0)

"""Starts a sandbox from any process, whatever its threads do, by way of the helper interpreter."""

from __future__ import annotations

import importlib.util
import marshal
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from sandbox.command import Command
from sandbox.linux import operations as op
from sandbox.process import Process

_HELPER = Path(__file__).with_name("helper.py")


def spawn(plan: op.Plan, command: Command) -> Process:
    """Start `command` in the sandbox that `plan` describes; the set-up goes on behind it.

    Raises: OSError if not even the helper can be started. A failed set-up is raised by `Process.wait`.
    """
    lifeline_read, lifeline_write = os.pipe()
    result_read, result_write = os.pipe()
    launch = {
        "plan": op.counted(plan) if command.stats else plan,
        "argv": command.argv,
        "cwd": command.cwd,
        "keep": command.pass_fds,
        "lifeline": lifeline_read,
        "result": result_write,
        "package": str(_HELPER.parents[2]),
        "libraries": list(_libraries()),
    }
    document = os.memfd_create("launch")
    try:
        with open(document, "wb", closefd=False) as stream:
            marshal.dump(launch, stream)
        os.lseek(document, 0, os.SEEK_SET)
        helper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_HELPER), str(document)],
            env={},
            stdin=command.stdin,
            stdout=command.stdout,
            stderr=command.stderr,
            pass_fds=(document, lifeline_read, result_write, *command.pass_fds),
            # A relay belongs to the terminal's foreground; anything else must not get its signals twice.
            start_new_session=not plan["terminal"],
            cwd="/",
        )
    except BaseException:
        os.close(lifeline_write)
        os.close(result_read)
        raise
    finally:
        os.close(document)
        os.close(lifeline_read)
        os.close(result_write)
    return Process(helper=helper, lifeline=lifeline_write, result=result_read)


@cache
def _libraries() -> tuple[str, ...]:
    """Where python-prctl is installed: the helper runs without site-packages."""
    found = importlib.util.find_spec("prctl")
    return () if found is None or found.origin is None else (str(Path(found.origin).parent),)

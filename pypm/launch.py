"""Where `pypm` starts: a call with a ready plan is answered at once, all others by the command line.

This module and what it imports before the sandbox is entered is the fast path; `tests/test_fast_path.py`
holds the list of modules that it may load.
"""

from __future__ import annotations

import gc
import os
import sys

from pypm import __version__
from pypm.bundle import install

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from pypm.workflow.plans import Call


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _open_standard_streams()
    if sys.argv[1:] in (["--version"], ["-V"]):
        try:
            os.write(1, f"pypm {__version__}\n".encode())
            os._exit(0)
        except OSError:
            pass  # The command line knows whom to tell, and how.
    try:
        # The fast path makes no rubbish, and a look at what it imports takes half a millisecond.
        gc.disable()
        code = replay(sys.argv[1:])
        gc.enable()
        if code is not None:
            # Nothing of ours has buffers to flush or threads to end, and a full exit costs milliseconds.
            os._exit(code)
        from pypm.cli.app import main as command_line

        _end(command_line())
    except BaseException as error:
        from pypm.errors import is_interrupt

        if not is_interrupt(error):
            raise
        # Ctrl-C came before or after the command line took it over; `Console.interrupted` tells it alike.
        os.write(2, b"\nInterrupted\n" if os.isatty(2) else b"Interrupted\n")
        os._exit(130)


def _open_standard_streams() -> None:
    """Lead the streams that the caller closed nowhere.

    Otherwise the next file that is opened would get the number of one, and be written to in its place.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # The lowest free number, so its own.
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def _end(code: int) -> NoReturn:
    """End the process without a look back: what was to be written is written, and what was open is closed.

    A thread may still be reading from a server that sends nothing, or fetching what is not wanted any more;
    and to take a program of this size apart costs a tenth of the time of a small lock. What ends in this way
    leaves what a killed process would leave.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue  # Nobody reads it any more.
    os._exit(code)


def replay(arguments: list[str]) -> int | None:
    """Do what `arguments` write by its ready plan; None when there is none or it is not fresh any more.

    Whatever cannot be answered here is left to the command line, which finds the same problem and tells it in
    full. What comes after the command was started is told here: it must not be started twice.
    """
    if not arguments or arguments[0] not in ("run", "sync"):
        return None
    bundle = install(__spec__.cached)
    code = _answer(arguments)
    if code is not None:
        bundle.keep()
    return code


def _answer(arguments: list[str]) -> int | None:
    from pypm.workflow import plans

    call = plans.read_call(arguments)
    if call is None or (call.words and plans.has_inline_metadata(call.words, module=call.module)):
        return None
    from pypm.paths import cache_folder

    root = _project(call)
    if root is None:
        return None
    key = plans.plan_key(call, root, os.environ)
    cache = call.cache_folder or cache_folder(os.environ)
    path = plans.plan_path(os.path.join(cache, "plans-v1"), key)  # noqa: PTH118
    payload = plans.load(path, key)
    if payload is None or not plans.is_own(cache):
        return None
    if call.command == "sync" and plans.still(payload["state"]):
        return _tell(payload, call)
    # Against `cache prune` and `clean`, until this process ends: it stands for the sandbox.
    if not plans.hold(cache):
        return None
    return _start(payload, call, path) if call.command == "run" else _write(payload, call, path, key)


def _project(call: Call) -> str | None:
    """Return the project's folder, if it may be used without a word."""
    from pypm.paths import is_foreign, project_folder

    start = call.project or os.environ.get("PYPM_PROJECT") or "."
    try:
        os.getcwd()  # noqa: PTH109 - whatever is run may start there
        root = project_folder(start)
    except FileNotFoundError:
        return None  # It was removed while one stood in it.
    return None if root is None or is_foreign(root, start) else root


def _tell(payload: dict[str, Any], call: Call) -> int | None:
    """Say that nothing is to do: the environment on disk is the one that was written for this lock."""
    try:
        if not call.is_quiet:
            os.write(2, payload["stderr"].encode())
        os.write(1, payload["stdout"].encode())
    except OSError:
        return None
    return 0


def _write(payload: dict[str, Any], call: Call, path: str, key: tuple[Any, ...]) -> int | None:
    """Make the environment on disk the plan's, and have the plan know it by its state file from now on."""
    from pypm.cli.ready_sync import sync
    from pypm.workflow import plans

    code = sync(payload, call)
    if code == 0:
        plans.renew(path, key, {**payload, "state": plans.file_facts(name for name, _ in payload["state"])})
    return code


def _start(payload: dict[str, Any], call: Call, path: str) -> int | None:
    """Run the command in the sandbox that was compiled last time, between the hooks that want it."""
    if payload["plugins"]:
        from pypm.cli.ready_run import run

        return run(payload, call, path)
    from pypm.workflow import plans
    from sandbox import SandboxError, replay_outcome

    try:
        ended = replay_outcome(
            payload["sandbox"],
            plans.command_words(call.words, module=call.module),
            plans.folder_inside(payload["root"]),
            plans.passed_variables(payload, os.environ),
        )
    except SandboxError:
        # A layer that vanished, a limit of the host: the whole program mends it, or says what is wrong.
        return None
    if ended.unstarted is not None:
        return None  # Nothing ran, and the whole program says so in a sentence.
    if ended.is_plain:
        return ended.returncode
    from pypm.cli.ready_end import console_of, tell_end, tell_met

    console = console_of(call)
    tell_met(ended, console)
    return tell_end(ended, call.words[0], console)

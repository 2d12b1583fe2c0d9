"""Which backend runs a policy, and the doors that use it. Fails closed: weaker isolation only by name."""

from __future__ import annotations

import contextlib
import platform
import signal
import sys
from pathlib import Path
from typing import Any

from sandbox.backend import Backend
from sandbox.command import Command, ExitStatus
from sandbox.errors import UnsupportedError
from sandbox.host import Host, Keeper
from sandbox.policy import Isolation, Policy, Terminal
from sandbox.process import Process


def choose_backend(policy: Policy) -> Backend:
    """The backend that `policy` asks for by name, else the strongest of this platform.

    Raises: UnsupportedError if there is none, or if it does not give what the policy requires.
    """
    backend = _by_name(policy.isolation)
    missing = backend.coverage().missing(policy.require)
    if missing:
        names = ", ".join(item.value for item in missing)
        raise UnsupportedError(
            f"the isolation `{backend.isolation.value}` does not guarantee what is required: {names}",
            hint="leave out the weaker isolation, or require less",
        )
    return backend


def _by_name(isolation: Isolation | None) -> Backend:
    """None means the strongest of this platform."""
    if sys.platform == "darwin" and isolation in (None, Isolation.SEATBELT):
        from sandbox.macos.backend import Seatbelt

        return Seatbelt()
    if sys.platform == "win32" and isolation in (None, Isolation.JOB):
        from sandbox.windows.backend import JobObject

        return JobObject()
    if not sys.platform.startswith("linux"):
        named = "no isolation" if isolation is None else f"no isolation `{isolation.value}`"
        raise UnsupportedError(
            f"there is {named} on `{sys.platform}` in this version",
            hint="run it on Linux, or in a Linux container",
        )
    if isolation in (Isolation.SEATBELT, Isolation.JOB):
        raise UnsupportedError(
            f"the isolation `{isolation.value}` belongs to another system than Linux",
            hint="leave it out for the strongest that there is here",
        )
    if isolation is Isolation.NONE:
        from sandbox.none import Unconfined

        return Unconfined()
    if isolation is Isolation.LANDLOCK:
        from sandbox.linux.in_place import InPlace

        return InPlace()
    from sandbox.linux.backend import Namespaces

    return Namespaces()


def probe(memory: Path | None = None) -> Host:
    """What this host can enforce, and why not; kept for as long as this process lives.

    A folder as `memory` keeps it for other processes, too, until the next boot.
    """
    if sys.platform.startswith("linux"):
        from sandbox.linux.probe import probe as probe_linux

        return probe_linux(memory)
    system = platform.uname()
    return Host(
        platform=sys.platform, machine=system.machine, kernel=system.release, boot_id="", namespaces=False
    )


def keepers() -> dict[str, Keeper]:
    """Who keeps the limits of memory, processes and processors here, by field of `Limits`; empty elsewhere.

    It depends on where this process was started, so it is tried out each time.
    """
    if not sys.platform.startswith("linux"):
        return {}
    from sandbox.linux import limiting

    return limiting.keepers()


def prepare(policy: Policy) -> dict[str, Any]:
    """Compile `policy` to plain data that `marshal` can store and `replay` can run without another thought.

    It holds for this kind of machine and this version of the package; `replay` checks both.
    Raises: PolicyError, UnsupportedError.
    """
    return choose_backend(policy).prepare(policy, platform.machine())


def spawn(policy: Policy, command: Command) -> Process:
    """Start `command` under `policy` and go on; safe in a process with threads.

    With `Terminal.PTY` the helper relays between the pty inside and the command's stdin and stdout.
    Raises: SandboxError. A set-up that fails later is raised by `Process.wait`.
    """
    return choose_backend(policy).spawn(policy, command)


def run(policy: Policy, command: Command) -> ExitStatus:
    """Run `command` under `policy` to its end.

    A first Ctrl-C goes to the command, a second one ends everything inside and is raised.
    Raises: SandboxError if the sandbox could not be made; nothing foreign was run then.
    """
    with _terminal_kept(policy), spawn(policy, command) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            return process.wait()


def _terminal_kept(policy: Policy) -> contextlib.AbstractContextManager[None]:
    """Restore the caller's terminal at the end, where there is a relay that changes it."""
    if policy.terminal is not Terminal.PTY:
        return contextlib.nullcontext()
    from sandbox.terminal import kept

    return kept()

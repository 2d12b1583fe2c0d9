"""Run a program so that it can neither see nor change what its policy does not name.

`Policy -> validate -> choose -> compile -> fork -> execute -> Process -> ExitStatus`

    policy = Policy(mounts=(Mount.bind("/src/project", writable=True),), home="/home/sandbox")
    status = run(policy, Command(argv=("make", "test"), cwd="/src/project"))

The names below are loaded when they are first used, so that importing this package, and replaying a
prepared plan, cost next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.backend import Backend, Coverage
    from sandbox.choose import choose_backend, keepers, prepare, probe, run, spawn
    from sandbox.command import Command, ExitStatus, Reached, Usage
    from sandbox.errors import PolicyError, SandboxError, SetupError, UnsupportedError
    from sandbox.host import Host, Keeper
    from sandbox.linux.fork import Forked, fork_plan
    from sandbox.linux.launch import Outcome, replay, replay_outcome
    from sandbox.linux.operations import counted
    from sandbox.policy import Guarantee, Isolation, Limits, Mount, Network, Policy, Terminal
    from sandbox.process import Process
    from sandbox.traffic import NetworkReport

_HOMES = {
    "Backend": "backend",
    "Command": "command",
    "Coverage": "backend",
    "ExitStatus": "command",
    "Forked": "linux.fork",
    "Guarantee": "policy",
    "Host": "host",
    "Isolation": "policy",
    "Keeper": "host",
    "Limits": "policy",
    "Mount": "policy",
    "Network": "policy",
    "NetworkReport": "traffic",
    "Outcome": "linux.launch",
    "Policy": "policy",
    "PolicyError": "errors",
    "Process": "process",
    "Reached": "command",
    "SandboxError": "errors",
    "SetupError": "errors",
    "Terminal": "policy",
    "UnsupportedError": "errors",
    "Usage": "command",
    "choose_backend": "choose",
    "counted": "linux.operations",
    "fork_plan": "linux.fork",
    "keepers": "choose",
    "prepare": "choose",
    "probe": "choose",
    "replay": "linux.launch",
    "replay_outcome": "linux.launch",
    "run": "choose",
    "spawn": "choose",
}
"""Every public name and the module it lives in."""

__all__ = [
    "Backend",
    "Command",
    "Coverage",
    "ExitStatus",
    "Forked",
    "Guarantee",
    "Host",
    "Isolation",
    "Keeper",
    "Limits",
    "Mount",
    "Network",
    "NetworkReport",
    "Outcome",
    "Policy",
    "PolicyError",
    "Process",
    "Reached",
    "SandboxError",
    "SetupError",
    "Terminal",
    "UnsupportedError",
    "Usage",
    "choose_backend",
    "counted",
    "fork_plan",
    "keepers",
    "prepare",
    "probe",
    "replay",
    "replay_outcome",
    "run",
    "spawn",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module `sandbox` has no attribute `{name}`")
    import sys

    module = f"sandbox.{_HOMES[name]}"
    __import__(module)
    value = getattr(sys.modules[module], name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

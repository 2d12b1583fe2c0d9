"""Runs a plan of the Landlock rung: what namespaces would do by themselves is done by hand here.

Around `launch.run_plan` comes a private folder, and the end of whatever the command left running; into init
comes the part that does the same when the supervisor is gone. The order is that of every plan otherwise.
"""

from __future__ import annotations

import errno
import os

from sandbox import signals
from sandbox.linux import constants as c
from sandbox.linux import execute, launch, namespaces, payload, syscalls, tree, wall
from sandbox.linux.context import Context, fail
from sandbox.linux.private import PrivateFolder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.linux.operations import Operation, Plan


def run_in_place(plan: Plan, request: launch.Request) -> launch.Outcome:
    """Make the sandbox, wait for its end, leave nothing behind. Raises: SetupError.

    The calling process must have a single thread. Children that it had before are let be.
    """
    execute.PERFORM.update(_OPERATIONS)
    spared = frozenset(tree.descendants(os.getpid()))
    tree.adopt_orphans()
    private = PrivateFolder(plan["private"]["parent"], plan["private"]["links"])
    try:
        return launch.run_plan(_placed(plan, request, private), request)
    finally:
        # Init has ended by now, and what it left has become ours.
        ended = tree.end_descendants(spared)
        private.remove()
        if not ended:
            os.write(2, b"sandbox: some processes of the command could not be ended\n")


def _placed(plan: Plan, request: launch.Request, private: PrivateFolder) -> Plan:
    """The plan with the private folder in it."""
    home = plan["private"]["home"]
    if home is not None and (request.cwd + "/").startswith(home + "/"):
        request.cwd = private.home + request.cwd[len(home) :]
    environment = {**plan["environment"], "TMPDIR": private.temporary}
    if home is not None:
        environment["HOME"] = private.home
    return {
        **plan,
        "environment": environment,
        "init": (("guard", private.path), *plan["init"]),
        "payload": tuple(_with_folder(operation, private.path) for operation in plan["payload"]),
    }


def _with_folder(operation: Operation, path: str) -> Operation:
    if operation[0] != "wall":
        return operation
    name, rules, network = operation
    return (name, (*rules, ("read", path, ()), ("write", path, ())), network)


# Operations of init.


def _guard(context: Context, path: str) -> None:
    """Outlive the supervisor for as long as it takes to end the tree and to remove the folder.

    Everywhere else init dies with the supervisor. Here nothing would die with init.
    """
    tree.adopt_orphans()
    syscalls.prctl(c.PR_SET_PDEATHSIG, signals.SIGIO)

    def clean_up() -> None:
        tree.end_descendants()
        private = object.__new__(PrivateFolder)
        private.path = path
        private.remove()

    context.on_orphaned = clean_up


def _harden(_: Context) -> None:
    """Init runs our code without privileges, and nothing may read its memory."""
    syscalls.prctl(c.PR_SET_DUMPABLE, 0)
    _give_up_privileges()


# Operations of the payload.


def _tie(_: Context) -> None:
    """End with init, whatever ends it."""
    syscalls.prctl(c.PR_SET_PDEATHSIG, signals.SIGKILL)


def _renounce(_: Context) -> None:
    """No capability, and none to be gained."""
    _give_up_privileges()


def _give_up_privileges() -> None:
    """Empty every capability set that this process may empty, set `no_new_privs`, and look at both.

    The bounding set of an ordinary user stays as it is: only a capability could empty it, and without a
    user namespace there is none. With `no_new_privs` it bounds nothing that could be gained.
    """
    try:
        syscalls.empty_bounding_set()
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
    syscalls.clear_ambient_capabilities()
    syscalls.set_no_capabilities()
    syscalls.prctl(c.PR_SET_NO_NEW_PRIVS, 1)
    if syscalls.capabilities():
        raise fail("renounce", "a capability is left")
    if syscalls.prctl(c.PR_GET_NO_NEW_PRIVS) != 1:
        raise fail("renounce", "no_new_privs is not set")


def _filter(context: Context, program: bytes, network: bool) -> None:
    """Load the system call filter, and try whether a socket can still be made."""
    payload.seccomp(context, program)
    try:
        syscalls.interface_flags("lo")
    except PermissionError:
        return
    if not network:
        raise fail("filter", "the system call filter is on and a network socket could still be made")


_OPERATIONS: dict[str, Callable[..., None]] = {
    "guard": _guard,
    "harden": _harden,
    "keyring": namespaces.keyring,
    "tie": _tie,
    "renounce": _renounce,
    "wall": wall.wall,
    "filter": _filter,
}

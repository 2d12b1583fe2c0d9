"""The vocabulary of a compiled sandbox: every operation as plain data that `marshal` can hold.

An operation is a tuple whose first item names it. The compiler writes lists of them, the executor replays
them after the fork; nothing is decided there. A `Plan` is a dictionary of plain values:

    version, machine       of the plan's layout and of the processor; both are checked before it is replayed
    namespaces             CLONE_NEW* flags that pid 1 is cloned with
    placeholders           what must exist on the host for mounts to stand on, see `placeholders.py`
    guarded                what somebody outside might replace, see `guard.py`
    init                   operations of pid 1, which then reaps and forwards
    beside                 those of pid 1 that take their time while the payload's process does its own
    payload                operations of the process that becomes the command
    environment            the payload's variables
    wall_clock_seconds     or None
    outside                what the supervisor does for it besides watching, see `outside.py`; mostly nothing
    terminal               whether there is a pty
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Operation = tuple[Any, ...]
    Plan = dict[str, Any]


def counted(plan: Plan) -> Plan:
    """A plan whose outcome tells what the whole tree of processes used."""
    return {**plan, "outside": {**plan["outside"], "stats": True}}


# For init.


def scrub() -> Operation:
    """Overwrite the caller's arguments and environment in this process's memory, and check it."""
    return ("scrub",)


def map_ids(user: int, group: int) -> Operation:
    """Be `user` and `group` in the new user namespace, and nobody else."""
    return ("map_ids", user, group)


def keyring() -> Operation:
    """Leave the caller's session keyring behind."""
    return ("keyring",)


def loopback() -> Operation:
    """Bring `lo` up, and check that nothing else is."""
    return ("loopback",)


def egress(
    required: tuple[bytes, ...], optional: tuple[bytes, ...], endpoints: tuple[tuple[str, int], ...]
) -> Operation:
    """Bring `lo` up with the routes of a network allow-list, and hand its listeners to the supervisor."""
    return ("egress", required, optional, endpoints)


def hostname(name: str) -> Operation:
    """Name the machine inside."""
    return ("hostname", name)


def root(size_bytes: int, inodes: int) -> Operation:
    """Cut the mount tree off from the host's and start an empty root in memory."""
    return ("root", size_bytes, inodes)


def mirror(path: str) -> Operation:
    """Show a system path as the host has it: its link, or the directory read-only, or nothing."""
    return ("mirror", path)


def bind(source: str, target: str, *, writable: bool, optional: bool, device: bool = False) -> Operation:
    """Show a host path; it is taken at its word, so no link may lie on the way to it.

    What was judged is what is mounted then, though somebody exchange a folder for a link in the meantime.
    The system's own optional files may be links: nobody but root can change those.
    """
    follow = optional or device
    return ("bind", source, target, writable, optional, device, follow)


def overlay(target: str, layers: tuple[str, ...]) -> Operation:
    """Show several host directories as one read-only tree, the topmost first."""
    return ("overlay", target, layers)


def tmpfs(target: str, size_bytes: int, mode: int) -> Operation:
    """An empty directory in memory."""
    return ("tmpfs", target, size_bytes, mode)


def file(target: str, content: bytes, mode: int) -> Operation:
    """A read-only file that exists only inside."""
    return ("file", target, content, mode)


def symlink(target: str, destination: str) -> Operation:
    """A link that exists only inside."""
    return ("symlink", target, destination)


def placeholders() -> Operation:
    """Wait until everything that the following mounts may stand on is there."""
    return ("placeholders",)


def watch(folders: tuple[str, ...]) -> Operation:
    """Watch folders of the host from here on, see `guard.py`."""
    return ("watch", folders)


def share(paths: tuple[str, ...]) -> Operation:
    """Let mounts that are made later below these mounts reach the payload."""
    return ("share", paths)


def protect(base: str, parts: tuple[str, ...]) -> Operation:
    """Make `base/parts...` read-only, or cover the placeholder that stands for it or for its parent.

    The directories between become mount points of their own, so that they cannot be renamed away
    together with what is protected in them.
    """
    return ("protect", base, parts)


def devices() -> Operation:
    """A minimal `/dev`."""
    return ("devices",)


def proc() -> Operation:
    """The processes inside, and nothing of the machine that could be changed or tells on it."""
    return ("proc",)


def pivot() -> Operation:
    """Make the new root the only one, and read-only."""
    return ("pivot",)


# For the payload.


def session() -> Operation:
    """A session of its own, without a controlling terminal."""
    return ("session",)


def pty() -> Operation:
    """The pseudo-terminal as 0, 1, 2 and controlling terminal, in the foreground."""
    return ("pty",)


def limits(pairs: tuple[tuple[int, int], ...]) -> Operation:
    """Resource limits as (RLIMIT_*, value)."""
    return ("limits", pairs)


def confine(user: int, group: int) -> Operation:
    """A second user and mount namespace whose masks are locked, and no third."""
    return ("confine", user, group)


def drop_privileges() -> Operation:
    """No capability in any set, and none to be gained."""
    return ("drop_privileges",)


def landlock(writable: tuple[str, ...]) -> Operation:
    """Reading everywhere, writing below `writable` only, where the kernel has Landlock."""
    return ("landlock", writable)


def seccomp(program: bytes) -> Operation:
    """Load the system call filter; the last restriction, since it forbids making the others."""
    return ("seccomp", program)


def enter() -> Operation:
    """Stand in the working directory, and hold no descriptor but the payload's."""
    return ("enter",)

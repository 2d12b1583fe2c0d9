"""Everything that a command started, where no process namespace takes it down.

Whoever is a child subreaper becomes the parent of every orphan below it, so that nothing started inside can
get out of its tree: neither `setsid` nor a second fork helps. The supervisor and init are both, so that
whichever is left ends what the other has left behind. Only who kills both at once leaves something alive.

Source: prctl(2), PR_SET_CHILD_SUBREAPER; proc(5), `stat`.
"""

from __future__ import annotations

import os
import time

from sandbox import signals
from sandbox.linux import constants as c
from sandbox.linux import syscalls

_LONGEST_SECONDS = 10.0
"""Against a tree that forks faster than it can be stopped; every round makes it smaller."""


def adopt_orphans() -> None:
    """Become the parent of what is orphaned below this process."""
    syscalls.prctl(c.PR_SET_CHILD_SUBREAPER, 1)


def descendants(ancestor: int) -> set[int]:
    """Every living process below `ancestor`, itself left out; none where `/proc` cannot be listed."""
    children: dict[int, list[int]] = {}
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - no pathlib in the helper
    except OSError:
        return set()
    for name in names:
        if name.isdigit() and (parent := _living_parent(name)):
            children.setdefault(parent, []).append(int(name))
    found: set[int] = set()
    pending = [ancestor]
    while pending:
        for child in children.get(pending.pop(), ()):
            if child not in found:
                found.add(child)
                pending.append(child)
    return found


def _living_parent(name: str) -> int:
    """The parent of a process, 0 for one that has ended."""
    try:
        descriptor = os.open(f"/proc/{name}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        state, parent = os.read(descriptor, 1024).rpartition(b")")[2].split()[:2]
    except (OSError, ValueError):
        return 0
    finally:
        os.close(descriptor)
    return 0 if state in (b"Z", b"X") else int(parent)


def end_descendants(spared: frozenset[int] = frozenset()) -> bool:
    """Kill everything below this process but `spared`, and reap it; say whether nothing is left.

    All are stopped before any is killed: what is stopped forks no more.
    """
    own = os.getpid()
    deadline = time.monotonic() + _LONGEST_SECONDS
    stopped: set[int] = set()
    while time.monotonic() < deadline:
        found = descendants(own) - spared
        if not found:
            _reap(spared)
            return True
        fresh = found - stopped
        for pid in fresh or found:
            _send(pid, signals.SIGSTOP if fresh else signals.SIGKILL)
        stopped |= fresh
        if not fresh:
            stopped.clear()
            _reap(spared)
            time.sleep(0.001)
    return False


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _reap(spared: frozenset[int]) -> None:
    """Collect what has ended; the status of a spared child is its own parent's business, so none is taken."""
    if spared:
        return
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return

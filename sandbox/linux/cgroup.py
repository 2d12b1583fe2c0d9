"""A control group for one sandbox: limits and accounts of the whole tree of its processes.

Made before pid 1 is cloned; pid 1 moves itself in before it does anything else, so nothing inside was ever
elsewhere. Every value is read back after it is written.

Source: Documentation/admin-guide/cgroup-v2.rst; for version 1 cgroup-v1/memory.rst, pids.rst, sched-bwc.rst.
"""

# ruff: noqa: PTH102, PTH106, PTH116, PTH123, PTH208
# `pathlib` costs more than all of this.

from __future__ import annotations

import errno
import os
import time

from sandbox.errors import SetupError
from sandbox.linux import cgroup_places, syscalls
from sandbox.linux.cgroup_places import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

PREFIX = "sandbox-"
"""Begins the name of every group; what an earlier one left behind is known by it."""
CONTROLLERS = {"memory_bytes": "memory", "processes": "pids", "cpus": "cpu"}
"""Which controller keeps which limit."""
_PERIOD_MICROSECONDS = 100_000
"""The kernel's own default: over each such period the quota is counted."""
_LEAST_QUOTA_MICROSECONDS = 1000
"""`min_cfs_quota_period` of kernel/sched/core.c."""
_PATIENCE_SECONDS = 2.0
"""A group can be removed some moments after its last process was killed."""
_STALE_SECONDS = 60.0
"""A group without processes that is older belongs to nobody any more."""


class Group:
    """One group, or one in each of several trees, under one name."""

    def __init__(self, places: list[Place]) -> None:
        """Make it. Raises: SetupError."""
        self.name = f"{PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
        self._places = places
        # First of all, so that there is no moment at which a killed supervisor leaves a group behind.
        self._guard = self._start_guard()
        try:
            for place in places:
                _sweep(place.path)
                os.mkdir(f"{place.path}/{self.name}", 0o755)
        except OSError as error:
            self.remove()
            raise SetupError(
                f"a control group cannot be made: {error}", stage="control group", errno=error.errno or 0
            ) from error

    @property
    def controllers(self) -> frozenset[str]:
        """What is limited and counted here."""
        return frozenset[str]().union(*(place.controllers for place in self._places))

    def limit(self, name: str, value: float) -> None:
        """Keep a field of `Limits`, looked at afterwards. Raises: SetupError."""
        controller = CONTROLLERS[name]
        place = next(place for place in self._places if controller in place.controllers)
        folder = f"{place.path}/{self.name}"
        try:
            for file, text in _settings(name, value, place.version):
                _write(f"{folder}/{file}", text)
                _verify(f"{folder}/{file}", text)
            if controller == "memory":
                # Without it the excess goes to the swap device; a kernel without one has no such file.
                swap = "memory.swap.max" if place.version == 2 else "memory.memsw.limit_in_bytes"
                if os.path.exists(f"{folder}/{swap}"):  # noqa: PTH110
                    _write(f"{folder}/{swap}", "0" if place.version == 2 else str(int(value)))
        except OSError as error:
            raise SetupError(
                f"the limit `{name}` cannot be set: {error}", stage="control group", errno=error.errno or 0
            ) from error

    def entrances(self) -> tuple[int, ...]:
        """Descriptors; whoever writes `0` to each is in the group. The caller closes them."""
        flags = os.O_WRONLY | os.O_CLOEXEC
        return tuple(os.open(f"{place.path}/{self.name}/cgroup.procs", flags) for place in self._places)

    def account(self) -> dict[str, int]:
        """What the kernel counted, by the names in `_COUNTS`. What it did not count is not there."""
        counts: dict[str, int] = {}
        for place in self._places:
            for key, file, word in _COUNTS[place.version]:
                number = _count(f"{place.path}/{self.name}/{file}", word)
                if number is not None:
                    counts[key] = number
        return counts

    @property
    def lifeline(self) -> int:
        """What pid 1 must not keep: its end is that of the supervisor."""
        return self._guard[1]

    def remove(self) -> None:
        """Kill what is still in it, and remove it; pid 1 is dead."""
        self._remove()
        pid, pipe = self._guard
        if pid:
            os.close(pipe)
            os.waitpid(pid, 0)
            self._guard = (0, -1)

    def _start_guard(self) -> tuple[int, int]:
        """Fork a process that removes the group if the supervisor is killed; return it and its lifeline."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._clean_up_after(reading)
        os.close(reading)
        return pid, writing

    def _clean_up_after(self, lifeline: int) -> NoReturn:
        """Wait for the end of the supervisor, which takes pid 1 along."""
        try:
            os.setsid()
            syscalls.close_all_but((lifeline,))
            os.read(lifeline, 1)
            self._remove()
        finally:
            os._exit(0)

    def _remove(self) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        left = [f"{place.path}/{self.name}" for place in self._places]
        while left:
            left = [path for path in left if not _removed(path)]
            if left:
                if time.monotonic() > deadline:
                    return  # Something outside was moved in; the next sweep takes what is empty by then.
                time.sleep(0.005)


_COUNTS = {
    2: (
        ("peak_memory_bytes", "memory.peak", ""),
        ("out_of_memory", "memory.events", "oom_kill"),
        ("processes_at_once", "pids.peak", ""),
        ("refused_forks", "pids.events", "max"),
        ("throttled", "cpu.stat", "nr_throttled"),
    ),
    1: (
        ("peak_memory_bytes", "memory.max_usage_in_bytes", ""),
        ("out_of_memory", "memory.oom_control", "oom_kill"),
        ("processes_at_once", "pids.peak", ""),
        ("refused_forks", "pids.events", "max"),
        ("throttled", "cpu.stat", "nr_throttled"),
    ),
}
"""By version: the name of a count, the file it is in, and the word before it (empty: the whole file)."""


def make(limits: dict[str, float], *, account: bool) -> tuple[Group | None, list[str]]:
    """A group that keeps as many of `limits` (fields of `Limits`) as can be had, and counts if `account`.

    None where nothing can be had; the second value says why not everything can. Raises: SetupError.
    """
    wanted = frozenset(CONTROLLERS[name] for name in limits) | ({"memory", "pids"} if account else set())
    places, reasons = cgroup_places.find(wanted)
    if not places:
        return None, reasons
    group = Group(places)
    try:
        for name, value in limits.items():
            if CONTROLLERS[name] in group.controllers:
                group.limit(name, value)
    except SetupError:
        group.remove()
        raise
    return group, reasons


def _settings(name: str, value: float, version: int) -> tuple[tuple[str, str], ...]:
    """File and content for one limit."""
    if name == "memory_bytes":
        file = "memory.max" if version == 2 else "memory.limit_in_bytes"
        return ((file, str(int(value) // _PAGE_BYTES * _PAGE_BYTES)),)
    if name == "processes":
        return (("pids.max", str(int(value) + 1)),)  # Pid 1 is in it, too.
    quota = max(int(value * _PERIOD_MICROSECONDS), _LEAST_QUOTA_MICROSECONDS)
    if version == 2:
        return (("cpu.max", f"{quota} {_PERIOD_MICROSECONDS}"),)
    return (("cpu.cfs_period_us", str(_PERIOD_MICROSECONDS)), ("cpu.cfs_quota_us", str(quota)))


_PAGE_BYTES = os.sysconf("SC_PAGESIZE")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _verify(path: str, text: str) -> None:
    """Raises: OSError if the kernel holds something else."""
    with open(path, encoding="ascii") as stream:
        found = stream.read().strip()
    if found != text:
        raise OSError(errno.EINVAL, f"the kernel took `{found}` for `{text}`", path)


def _count(path: str, word: str) -> int | None:
    """A number of a file, None if the kernel has no such file."""
    try:
        with open(path, encoding="ascii") as stream:
            content = stream.read()
    except OSError:
        return None
    if not word:
        return int(content)
    for line in content.splitlines():
        name, _, number = line.partition(" ")
        if name == word:
            return int(number)
    return None


def _removed(path: str) -> bool:
    """Whether a group is gone now."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        try:
            _write(f"{path}/cgroup.kill", "1")  # Version 2, from Linux 5.14 on.
        except OSError:
            return False
        return False
    return True


def _sweep(parent: str) -> None:
    """Remove what is left of sandboxes whose supervisor and guard were killed together."""
    for name in os.listdir(parent):
        if name.startswith(PREFIX):
            try:
                if time.time() - os.stat(f"{parent}/{name}").st_mtime > _STALE_SECONDS:
                    os.rmdir(f"{parent}/{name}")
            except OSError:
                continue  # In use, or swept by another one.

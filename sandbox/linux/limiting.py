"""Who keeps which limit on this host: a control group where one can be made, older means elsewhere.

A limit that nobody can keep is refused, with the reason and with what can be had.
"""

from __future__ import annotations

import os

from sandbox.errors import UnsupportedError
from sandbox.linux import cgroup, cgroup_places
from sandbox.linux import constants as c
from sandbox.linux.context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandbox.host import Keeper

IN_GROUPS = tuple(cgroup.CONTROLLERS)
"""The fields of `Limits` that a control group keeps best."""


class Limiting:
    """The limits of one sandbox, and the account of what it used."""

    def __init__(self, limits: dict[str, Any], context: Context, *, account: bool) -> None:
        """Raises: UnsupportedError, SetupError."""
        self._limits = limits
        wanted = {name: limits[name] for name in IN_GROUPS if name in limits}
        if wanted.get("cpus", 0) >= (os.cpu_count() or 1):
            del wanted["cpus"]  # There are no more processors than that.
        self.group, reasons = cgroup.make(wanted, account=account)
        self._entrances: tuple[int, ...] = ()
        kept = frozenset[str]() if self.group is None else self.group.controllers
        left = {name: value for name, value in wanted.items() if cgroup.CONTROLLERS[name] not in kept}
        try:
            _fall_back(left, context, reasons)
            if self.group is not None:
                context.given.group = self.group.name.encode()
                context.given.private += (self.group.lifeline,)
                self._entrances = context.given.entrances = self.group.entrances()
        except BaseException:
            self.close()
            raise

    def begin(self) -> None:
        """Let go of what pid 1 has by now."""
        self._close_entrances()

    def close(self) -> dict[str, int]:
        """Return what was counted, and remove the group. Pid 1 is dead, or was never cloned."""
        self._close_entrances()
        group, self.group = self.group, None
        if group is None:
            return {}
        counted = group.account()
        group.remove()
        return counted

    def reached(self, counted: dict[str, int]) -> list[tuple[str, int]]:
        """Which limits were met, by the group's counts: the field of `Limits`, and how often."""
        met = {
            "memory_bytes": counted.get("out_of_memory", 0),
            "processes": counted.get("refused_forks", 0),
        }
        return [(name, count) for name, count in met.items() if count and name in self._limits]

    def _close_entrances(self) -> None:
        for descriptor in self._entrances:
            os.close(descriptor)
        self._entrances = ()


def keepers() -> dict[str, Keeper]:
    """By field of `Limits`: who would keep it for a sandbox that is started now.

    It is tried out: controllers of version 2 that can be handed on to groups are handed on from here on.
    """
    from sandbox.host import Keeper  # No sandbox needs it, and data classes take long to load.

    places, reasons = cgroup_places.find(frozenset(cgroup.CONTROLLERS.values()))
    found = {controller: place for place in places for controller in place.controllers}
    why = tuple(dict.fromkeys(reasons))
    elsewhere = {
        "memory_bytes": "of each process alone",
        "processes": "nobody: the kernel does not count those of root" if _is_exempt() else "of the user",
        "cpus": "whole numbers, by choosing processors",
    }
    told = {}
    for name, controller in cgroup.CONTROLLERS.items():
        place = found.get(controller)
        told[name] = (
            Keeper(kept=elsewhere[name], because=why)
            if place is None
            else Keeper(kept=f"control group version {place.version}")
        )
    return told


def _fall_back(limits: dict[str, Any], context: Context, reasons: list[str]) -> None:
    """Keep without a group what can be kept so. Raises: UnsupportedError."""
    given = context.given
    if "memory_bytes" in limits:
        given.limits += ((c.RLIMIT_AS, int(limits["memory_bytes"])),)
    if "processes" in limits:
        if _is_exempt():
            hint = "an ordinary user's are counted, and so are root's where control groups can be made"
            raise _refusal("processes", "the kernel does not count those of root", reasons, hint)
        given.limits += ((c.RLIMIT_NPROC, int(limits["processes"])),)
    if "cpus" in limits:
        count = limits["cpus"]
        if count != int(count):
            because = "only a control group gives a part of a processor's time"
            hint = f"a whole number can be had, such as {max(1, round(count))}"
            raise _refusal("cpus", because, reasons, hint)
        allowed = sorted(os.sched_getaffinity(0))
        if count < len(allowed):
            import random  # It costs more than a whole sandbox, and hardly anybody comes here.

            # Not always the same ones: several sandboxes would share them while others are idle.
            given.processors = tuple(sorted(random.sample(allowed, int(count))))


def _is_exempt() -> bool:
    """Whether `RLIMIT_NPROC` does not bind the caller: the first user namespace's uid 0. Source: fork(2)."""
    if os.geteuid() != 0:
        return False
    with open("/proc/self/uid_map", encoding="ascii") as stream:  # noqa: PTH123 - a kernel file
        inside, outside, _ = stream.readline().split()
    return (inside, outside) == ("0", "0")


def _refusal(name: str, because: str, reasons: list[str], hint: str) -> UnsupportedError:
    why = "; ".join(dict.fromkeys(reasons)) or "no control group file system is mounted"
    message = f"the limit `{name}` cannot be kept on this host: {because}, and none can be made here ({why})"
    return UnsupportedError(message, hint=hint)

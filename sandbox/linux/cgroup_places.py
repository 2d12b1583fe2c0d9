"""Where on this host a control group can be made, found out by trying.

Version 2 first: its one tree is walked from the top down, since groups that hold processes can have no
children with controllers, and a user's delegated part begins somewhere below. What it does not offer is
looked for in the trees of version 1, below the caller's own group.

Source: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/cgroups.rst, proc_pid_mountinfo(5), cgroups(7).
"""

# ruff: noqa: PTH123
# `pathlib` costs more than all of this.

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Place:
    """A directory in which a child group can be made, and what may be limited and counted there."""

    __slots__ = ("controllers", "path", "version")

    def __init__(self, path: str, version: int, controllers: frozenset[str]) -> None:
        self.path = path
        self.version = version
        self.controllers = controllers


def find(wanted: frozenset[str]) -> tuple[list[Place], list[str]]:
    """The places that offer as much of `wanted` (`memory`, `pids`, `cpu`) as can be had, each at one of them.

    The second value says why not everything can be, in clauses for a message.
    """
    trees = list(_trees())
    reasons: list[str] = []
    found: list[Place] = []
    left = wanted
    for tree in trees:
        if tree.version == 2 and (place := _in_unified(tree, left, reasons)) is not None:
            found.append(place)
            left -= place.controllers
    for tree in trees:
        offered = left & tree.controllers
        if tree.version == 1 and offered and _can_make_groups(tree.own, reasons):
            found.append(Place(tree.own, 1, offered))
            left -= offered
    if not trees:
        reasons.append("no control group file system is mounted")
    return found, reasons


class _Tree:
    """One mounted hierarchy."""

    __slots__ = ("controllers", "own", "top", "version")

    def __init__(self, top: str, own: str, version: int, controllers: frozenset[str]) -> None:
        self.top = top
        self.own = own
        """The directory of the group that this process is in."""
        self.version = version
        self.controllers = controllers


def _trees() -> Iterator[_Tree]:
    """The hierarchies that are mounted here and hold this process."""
    groups: dict[str, str] = {}
    for line in _lines("/proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = path
    seen: set[str] = set()
    for line in _lines("/proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        root, point = (_unescape(word) for word in before.split(" ")[3:5])
        if kind not in ("cgroup", "cgroup2"):
            continue
        offered = frozenset(options.split(",")) & frozenset(groups)
        # Version 2 has one line without a controller; a tree of version 1 without any is systemd's own.
        name = "" if kind == "cgroup2" else next(iter(offered), None)
        if name is None or name not in groups:
            continue
        own = _below(groups[name], root, point)
        if own is not None and own not in seen:
            seen.add(own)
            yield _Tree(point, own, 2 if kind == "cgroup2" else 1, offered)


def _below(group: str, root: str, point: str) -> str | None:
    """Where a group is seen, if the part of its tree that is mounted holds it."""
    if root == "/":
        return None if group.startswith("/..") else (point + group).rstrip("/")
    if group == root or group.startswith(root + "/"):
        return point + group[len(root) :]
    return None


def _in_unified(tree: _Tree, wanted: frozenset[str], reasons: list[str]) -> Place | None:
    """The topmost directory that offers the most of `wanted`."""
    best: Place | None = None
    path = tree.top.rstrip("/")
    steps = ["", *(step for step in tree.own[len(path) :].split("/") if step)]
    for step in steps:
        path = f"{path}/{step}" if step else path
        offered = wanted & frozenset(_words(f"{path}/cgroup.controllers"))
        if best is not None and len(offered) <= len(best.controllers):
            continue
        if not offered or not _can_make_groups(path, reasons):
            continue
        usable = _enable(path, offered, reasons)
        if usable and (best is None or len(usable) > len(best.controllers)):
            best = Place(path, 2, usable)
    if best is None and not any(tree.top in reason for reason in reasons):
        reasons.append(f"`{tree.top}` offers none of {', '.join(sorted(wanted))}")
    return best


def _enable(path: str, offered: frozenset[str], reasons: list[str]) -> frozenset[str]:
    """What a child of `path` will have, after switching on what can be."""
    for controller in offered - frozenset(_words(f"{path}/cgroup.subtree_control")):
        try:
            with open(f"{path}/cgroup.subtree_control", "w", encoding="ascii") as stream:
                stream.write(f"+{controller}")
        except OSError as error:
            reasons.append(f"`{path}` does not hand `{controller}` on ({error.strerror})")
    return offered & frozenset(_words(f"{path}/cgroup.subtree_control"))


def _can_make_groups(path: str, reasons: list[str]) -> bool:
    """Whether children can be made here and processes be moved into them.

    Moving wants the right to write the nearest common ancestor's `cgroup.procs`, which is this one's.
    """
    for target in (path, f"{path}/cgroup.procs"):
        if not os.access(target, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            reasons.append(f"`{path}` cannot be written")
            return False
    return True


def _words(path: str) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: str) -> list[str]:
    """The lines of a kernel file, none if it is not there."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read().splitlines()
    except OSError:
        return []


def _unescape(text: str) -> str:
    """Undo the octal escapes of mountinfo."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text

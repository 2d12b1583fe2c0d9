"""Use a descriptor that the caller happened to have open.

Shells, editors and build servers leak descriptors; one of a folder outside opens everything below it.
Source: CVE-2024-21626.
"""

import os

from attempt import hidden, works

WAYS = ("run", "hook", "build", "editable")


def outside(arena, way):
    secret = os.open(arena.place / "outside", os.O_RDONLY)
    try:
        command = way.command(["inherited_descriptor"])
        printed = arena.finish(arena.start(command, cwd=arena.project, pass_fds=(secret,))).stdout
        return way.report(printed)
    finally:
        os.close(secret)


def _open_ones():
    found = []
    for number in range(3, 4096):
        try:
            os.fstat(number)
            found.append((number, os.readlink(f"/proc/self/fd/{number}")))
        except OSError:
            continue
    return found


def inside():
    hidden("anything besides 0, 1, 2", _open_ones)
    works("standard output", lambda: os.fstat(1).st_mode)

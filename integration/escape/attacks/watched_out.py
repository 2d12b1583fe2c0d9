"""Take all that the caller may watch files with: then no editor of the caller's gets any, nor the next sandbox.

The kernel counts for a user on all of the machine, whatever namespace the user is in.
Source: inotify(7), /proc/sys/fs/inotify/max_user_instances; `inc_ucount` in kernel/ucount.c.
"""

import ctypes
import os
import time

from attempt import works

WAYS = ("run",)
_WATCH = "import ctypes, sys; sys.exit(ctypes.CDLL(None).inotify_init1(0) < 0)"


def outside(arena, way):
    process = arena.start([*arena.pypm, "run", *arena.inner("watched_out")], cwd=arena.project)
    shown = b""
    while b"@done" not in shown:
        shown += os.read(process.stdout.fileno(), 4096) or b"@done"
    for name, command in (
        ("the caller's own watching", [*arena.python, "-c", _WATCH]),
        ("the next `pypm run`", [*arena.pypm, "run", "true"]),
    ):
        done = arena.host(command, cwd=arena.project)
        verdict = b"escaped" if done.returncode else b"denied"
        shown += b"@%s|%s|status %d\n" % (verdict, name.encode(), done.returncode)
    arena.finish(process)
    return shown


def inside():
    libc, taken = ctypes.CDLL(None, use_errno=True), 0
    while libc.inotify_init1(0) >= 0:
        taken += 1
    works("watching files", lambda: taken > 0)
    os.write(1, b"@done||\n")
    time.sleep(8)

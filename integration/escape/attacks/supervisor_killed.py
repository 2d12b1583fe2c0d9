"""Survive the supervisor's SIGKILL; leave mount points' stand-ins behind in the project.

Source: prctl(2) PR_SET_PDEATHSIG and its races; promise 6 of the design.
"""

import os
import signal
import time
from pathlib import Path

from attempt import PROJECT, works

WAYS = ("run", "hook")
_TICKS = "src/killed-ticks"
"""In a folder that is there: not every isolation lets a new file be made at the root."""


def outside(arena, way):
    before = set(os.listdir(arena.project))
    process = arena.start([*arena.pypm, "run", *arena.inner("supervisor_killed")], cwd=arena.project)
    shown = b""
    while b"@done" not in shown:
        shown += os.read(process.stdout.fileno(), 4096) or b"@done"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.3)
    ticks = arena.project / _TICKS
    size = ticks.stat().st_size
    time.sleep(0.4)
    left = set(os.listdir(arena.project)) - before - {_TICKS}
    shown += b"@%s|the payload goes on|\n" % (b"escaped" if ticks.stat().st_size != size else b"denied")
    shown += b"@%s|stand-ins are left|%s\n" % (b"escaped" if left else b"denied", str(left).encode())
    return shown


def inside():
    works("starting", lambda: True)
    if os.fork() == 0:
        os.setsid()
        for _ in range(600):
            with Path(PROJECT / _TICKS).open("a") as ticks:
                ticks.write(".")
            time.sleep(0.05)
        os._exit(0)
    while not (PROJECT / _TICKS).exists():
        time.sleep(0.01)
    os.write(1, b"@done||\n")
    time.sleep(30)

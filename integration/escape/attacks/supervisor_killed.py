"""Survive the supervisor's SIGKILL; leave mount points' stand-ins behind in the project.

Source: prctl(2) PR_SET_PDEATHSIG and its races; promise 6 of the design.
"""

import os
import signal
import sys
import time

from attempt import FACTS, works

WAYS = ("run", "hook", "build", "editable")


def outside(arena, way):
    marker = f"survivor-of-{arena.token}-{way.name}"
    arena.facts(marker=marker[::-1])
    command = way.command(["supervisor_killed"])
    before = set(os.listdir(arena.project))
    process = arena.start(command, cwd=arena.project)
    deadline = time.monotonic() + 30
    while not (started := arena.processes(marker)) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 5
    while (alive := arena.processes(marker)) and time.monotonic() < deadline:
        time.sleep(0.05)
    # Whoever takes the stand-ins away waits until init is dead.
    while (left := set(os.listdir(arena.project)) - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    return b"".join(
        b"@%s|%s|%s\n" % (verdict, name, told.encode())
        for verdict, name, told in (
            (b"works" if started else b"broken", b"a process that goes on while the command runs", ""),
            (b"escaped" if alive else b"denied", b"the payload goes on", str(alive)),
            (b"escaped" if left else b"denied", b"stand-ins are left", str(left)),
            (b"done", b"", ""),
        )
    )


def inside():
    works("starting", lambda: True)
    if os.fork() == 0:
        os.setsid()
        marker = FACTS["marker"][::-1]
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(40)", marker])
    time.sleep(30)

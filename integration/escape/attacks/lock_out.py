"""Lock every visible file, so that the host's pypm and git wait for ever.

A lock needs no right to write. Source: flock(2), fcntl(2) F_SETLEASE.
"""

import fcntl
import os
import sys
import time

from attempt import PROJECT, works

WAYS = ("run",)


def outside(arena, way):
    process = arena.start([*arena.pypm, "run", *arena.inner("lock_out")], cwd=arena.project)
    shown = b""
    while b"@done" not in shown:
        shown += os.read(process.stdout.fileno(), 4096) or b"@done"
    for command in (["sync"], ["lock"], ["run", "true"]):
        started = time.monotonic()
        done = arena.host([*arena.pypm, *command], cwd=arena.project)
        bad = done.returncode != 0 or time.monotonic() - started > 15
        shown += b"@%s|stopping `pypm %s`|status %d\n" % (
            b"escaped" if bad else b"denied",
            command[0].encode(),
            done.returncode,
        )
    process.kill()
    process.wait()
    return shown


def inside():
    locked = []
    for folder in (PROJECT, sys.base_prefix + "/bin"):
        for path, folders, files in os.walk(folder):
            for name in [".", *files][:200]:
                try:
                    descriptor = os.open(os.path.join(path, name), os.O_RDONLY | os.O_NONBLOCK)
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    locked.append(descriptor)
                except OSError:
                    continue
            if len(locked) > 800:
                break
    works(f"locking {len(locked)} files", lambda: bool(locked))
    os.write(1, b"@done||\n")
    time.sleep(50)

"""Lock every visible file, or take a lease on it, so that the host's pypm, git and Python wait for ever.

Neither needs a right to write. Who opens a leased file waits for its holder, 45 seconds at a time.
Source: flock(2), fcntl(2) F_SETLEASE, proc(5) /proc/sys/fs/lease-break-time.
"""

import contextlib
import fcntl
import os
import signal
import sys
import time

from attempt import PROJECT, hidden, works

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
    locked, leased = [], []
    # Else its holder is ended by the first who waits for it.
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    for folder in (PROJECT, sys.base_prefix + "/bin"):
        for path, folders, files in os.walk(folder):
            for name in [".", *files][:200]:
                try:
                    descriptor = os.open(os.path.join(path, name), os.O_RDONLY | os.O_NONBLOCK)
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    locked.append(descriptor)
                except OSError:
                    continue
                for kind in (fcntl.F_WRLCK, fcntl.F_RDLCK):
                    with contextlib.suppress(OSError):
                        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, kind)
                        leased.append(name)
            if len(locked) > 800:
                break
    works(f"locking {len(locked)} files", lambda: bool(locked))
    hidden("leases", lambda: leased[:9])
    os.write(1, b"@done||\n")
    time.sleep(50)

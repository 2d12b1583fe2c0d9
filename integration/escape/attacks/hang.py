"""Ignore every signal and never end. Source: signal(7); the wall clock must win."""

import os
import signal
import time

from attempt import works

WAYS = ("run", "hook")


def outside(arena, way):
    command = way.command(["hang"], ("--timeout", "2s") if way.name == "run" else (), seconds=2)
    started = time.monotonic()
    done = arena.host(command, cwd=arena.project)
    expected = 124 if way.name == "run" else 1
    late = time.monotonic() - started > 30 or done.returncode != expected
    return done.stdout + b"@%s|going on|status %d\n@done||\n" % (
        b"escaped" if late else b"denied",
        done.returncode,
    )


def inside():
    works("starting", lambda: True)
    for number in range(1, 65):
        if number not in (9, 19, 32, 33):
            signal.signal(number, signal.SIG_IGN)
    os.fork()
    while True:
        time.sleep(1)

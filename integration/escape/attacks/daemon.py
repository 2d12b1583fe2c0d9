"""Leave a process behind that outlives the command, as crypto miners and stealers do.

Source: setsid(2), daemon(7); promise 6 of the design.
"""

import os
import time
from pathlib import Path

from attempt import PROJECT, works

_TICKS = "daemon-ticks"


def afterwards(arena):
    for folder in ("project", "built"):
        ticks = arena.place / folder / _TICKS
        before = ticks.stat().st_size if ticks.exists() else 0
        time.sleep(0.4)
        yield "a daemon that goes on", (ticks.stat().st_size if ticks.exists() else 0) != before


def inside():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(3):
                os.close(number)
            for _ in range(600):
                with Path(PROJECT / _TICKS).open("a") as ticks:
                    ticks.write(".")
                time.sleep(0.05)
        os._exit(0)
    time.sleep(0.2)
    works("a daemon while the command runs", lambda: (PROJECT / _TICKS).exists())

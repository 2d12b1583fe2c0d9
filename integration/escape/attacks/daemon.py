"""Leave a process behind that outlives the command, as crypto miners and stealers do.

Source: setsid(2), daemon(7); promise 6 of the design.
"""

import os
import sys
import time

from attempt import FACTS, works

# What is found on the machine afterwards should be of this attack's own sandbox.
ALONE = True


def prepare(arena):
    arena.facts(marker=f"daemon-of-{arena.token}"[::-1])


def afterwards(arena):
    time.sleep(0.2)
    yield "a daemon that goes on", bool(arena.processes(f"daemon-of-{arena.token}"))


def inside():
    marker = FACTS["marker"][::-1]
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(writing, b"x")
            for number in range(3):
                os.close(number)
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)", marker])
        os._exit(0)
    works("a daemon while the command runs", lambda: os.read(reading, 1))
    time.sleep(0.2)

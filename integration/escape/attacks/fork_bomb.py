"""Start more processes than the policy allows.

Source: pids.max of control groups; RLIMIT_NPROC in getrlimit(2), which does not count for the host's uid 0: where
it is all there is, root's limit is refused.
"""

import os
import signal
import time

from attempt import denied, works

WAYS = ("run", "shell")
FLAGS = ("--pids", "60")


def _many():
    started = []
    try:
        for _ in range(200):
            pid = os.fork()
            if pid == 0:
                time.sleep(20)
                os._exit(0)
            started.append(pid)
        return len(started)
    finally:
        for pid in started:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def inside():
    denied("200 processes where 60 are allowed", _many)
    works("one process", lambda: os.waitpid(os.fork() or os._exit(0), 0)[1] == 0)

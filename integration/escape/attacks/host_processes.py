"""See and signal the host's processes: its supervisor, its neighbours, all of them.

Source: kill(2), pidfd_open(2), pid_namespaces(7).
"""

import os
import signal
import subprocess

from attempt import FACTS, call, denied, hidden, works


def prepare(arena):
    process = arena.start(["sleep", "60"], cwd=arena.place)
    _VICTIMS.append(process)
    arena.facts(victim=process.pid, supervisor=os.getpid())


_VICTIMS = []


def afterwards(arena):
    for process in _VICTIMS:
        yield "a signal to a process of the host", process.poll() is not None
        process.kill()
        process.wait()
    _VICTIMS.clear()


def inside():
    victim = FACTS["victim"]
    denied("kill of a host's pid", lambda: os.kill(victim, signal.SIGTERM))
    denied("pidfd_open of a host's pid", lambda: call("pidfd_open", victim, 0))
    denied("scheduling a host's pid", lambda: os.sched_setaffinity(victim, {0}))
    denied("the priority of a host's pid", lambda: os.setpriority(os.PRIO_PROCESS, victim, 19))
    denied("limits of a host's pid", lambda: __import__("resource").prlimit(victim, 7))
    hidden(
        "processes besides ours",
        lambda: {str(victim), str(FACTS["supervisor"])} & set(os.listdir("/proc")),
    )
    works("a process of one's own", lambda: subprocess.run(["true"], check=True).returncode == 0)
    child = subprocess.Popen(["sleep", "20"])
    works("a signal to it", lambda: child.kill() is None and child.wait() == -signal.SIGKILL)

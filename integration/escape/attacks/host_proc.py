"""Look for the host's processes in `/proc`: their memory, variables, open files, working folders, programs.

`/proc/N/root` and `/proc/N/fd` of anybody outside lead around every mount, and `/proc/N/exe` of the supervisor
is a program that runs with all rights. Source: proc(5), ptrace(2) "access mode checking"; CVE-2019-5736.
"""

import os

from attempt import FACTS, call, denied, works


_STARTED = []


def prepare(arena):
    process = arena.start(["sleep", "60"], cwd=arena.place)
    _STARTED.append(process)
    arena.facts(processes=[process.pid, os.getpid()], secret=str(arena.home / ".ssh" / "id_secret"))


def afterwards(arena):
    while _STARTED:
        process = _STARTED.pop()
        yield "the end of the host's process", process.poll() is not None
        process.kill()
        process.wait()


def inside():
    for who, pid in zip(("a process", "whoever started pypm"), FACTS["processes"]):
        for name in (
            "environ",
            "mem",
            "maps",
            "auxv",
            "syscall",
            "personality",
            "stack",
            "task",
            "map_files",
        ):
            path = f"/proc/{pid}/{name}"
            denied(
                f"{name} of {who}",
                lambda p=path: os.listdir(p) if os.path.isdir(p) else open(p, "rb").read(1),
            )
        for name in ("root", "cwd", "exe", "fd/0", "fd/3", "ns/mnt"):
            denied(f"{name} of {who}", lambda path=f"/proc/{pid}/{name}": os.readlink(path))
        denied(
            f"a secret by the root of {who}",
            lambda pid=pid: open(f"/proc/{pid}/root{FACTS['secret']}").read(),
        )
        for name in (
            "oom_score_adj",
            "coredump_filter",
            "comm",
            "clear_refs",
            "setgroups",
            "uid_map",
            "timerslack_ns",
        ):
            denied(f"writing {name} of {who}", lambda path=f"/proc/{pid}/{name}": os.open(path, os.O_WRONLY))
        denied(f"memory of {who}", lambda pid=pid: call("process_vm_readv", pid, b"", 0, b"", 0, 1))
    works("one's own arguments", lambda: open("/proc/self/cmdline", "rb").read(1))

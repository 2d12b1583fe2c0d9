"""Flood the machine: processes that fork without end, memory, temporary files, one huge file, output.

Each is bounded by a limit, the host goes on, and the user is told which limit it was.
Source: pids.max and memory.max of cgroup-v2, getrlimit(2), tmpfs(5); docs/limits.md has who keeps which.
"""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from attempt import FACTS, works

WAYS = ("run",)
_LIMITS = '\n[tool.pypm.sandbox.run]\npids = 64\nmemory = "256M"\ntmp-size = "16M"\nfile-size = "4M"\noutput = "1M"\n'
_TOLD = {
    "processes": (b"64 processes", "processes"),
    "memory": (b"memory limit of 256 MiB", "memory_bytes"),
    "temporary files": (b"16 MiB for temporary files", None),
    "one file": (b"file size limit of 4 MiB", None),
    "output": (b"output limit of 1 MiB", None),
}
_MARKER = "flood-of-processes"


def outside(arena, way):
    told = arena.host([*arena.pypm, "sandbox", "info", "--json"], cwd=arena.project).stdout
    keepers = json.loads(told[told.index(b"{") :])["limits"]
    way.further = _LIMITS
    shown = b""
    try:
        for kind, (words, limit) in _TOLD.items():
            arena.facts(kind=kind)
            process = arena.start(way.command(["floods"]), cwd=arena.project)
            most = 0
            while kind == "processes" and process.poll() is None:
                most = max(most, len(arena.processes(_MARKER)))
                time.sleep(0.05)
            printed = arena.finish(process).stdout
            ended = process.returncode not in (None, -9) and b"@works" in printed
            host = subprocess.run(["true"], check=False).returncode == 0
            bounded = host and most <= 64 and len(printed) < 2 << 20 and _size(arena) <= 4 << 20
            bounded = bounded and b"beyond the limit" not in printed
            shown += _verdict("denied" if ended and bounded else "escaped", kind, printed)
            if limit is None or str(keepers.get(limit)).startswith("control group"):
                # Where the kernel counts for each process, nobody can say afterwards which limit it was.
                shown += _verdict(
                    "works" if words in printed else "broken", f"{kind}: the limit by name", printed
                )
    finally:
        way.further = ""
        way.command(["floods"])
    left = bool(arena.processes(_MARKER))
    return shown + _verdict("escaped" if left else "denied", "processes that go on", b"") + b"@done||\n"


def _size(arena):
    flood = arena.project / "src" / "flood"
    return flood.stat().st_size if flood.exists() else 0


def _verdict(verdict, name, printed):
    tail = printed[-160:].decode("utf-8", "replace").replace("|", " ")
    return f"@{verdict}|{name}|{' '.join(tail.split())}\n".encode()


def inside():
    works("starting", lambda: True)
    {
        "processes": _forks,
        "memory": _memory,
        "temporary files": _temporary_files,
        "one file": _one_file,
        "output": _output,
    }[FACTS["kind"]]()


def _forks():
    """Each process starts others, as long as it can."""
    script = "import os, time\nend = time.time() + 2\nwhile time.time() < end:\n try: os.fork()\n except OSError: pass\n"
    subprocess.run(["python", "-c", script, _MARKER], check=False)


def _memory():
    """In several processes, each of which asks for more than all may have."""
    for _ in range(4):
        if os.fork() == 0:
            try:
                held = bytearray(b"x") * (300 << 20)
            except MemoryError:
                os._exit(1)
            os._exit(len(held) & 1)
    for _ in range(4):
        os.wait()


def _temporary_files():
    for number in range(64):
        try:
            Path(f"{os.environ.get('TMPDIR', '/tmp')}/{number}").write_bytes(b"x" * (1 << 20))
        except OSError:
            return
    print("beyond the limit", flush=True)


def _one_file():
    """As the command itself: who ends a process that another one waited for is not told to anybody else."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.execvp("sh", ["sh", "-c", "exec head -c 100000000 /dev/zero > src/flood"])


def _output():
    for _ in range(64):
        os.write(1, b"x" * 65536 + b"\n")

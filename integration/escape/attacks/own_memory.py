"""Search this process's whole memory for the caller's secret.

The process that becomes the command was forked from the one that holds the secrets; `execve` must have
replaced all of it. Source: execve(2), proc(5).
"""

import subprocess
import sys

from attempt import FACTS, hidden, works

_SEARCH = """
import sys
reversed_secret = sys.stdin.read()
found = []
with open("/proc/%d/mem" % int(sys.argv[1]) if sys.argv[1] != "self" else "/proc/self/mem", "rb", 0) as memory:
    for line in open("/proc/self/maps").read().splitlines():
        span, rights = line.split()[:2]
        start, end = (int(part, 16) for part in span.split("-"))
        if rights.startswith("r") and end - start < 1 << 28:
            try:
                memory.seek(start)
                content = memory.read(end - start)
            except (OSError, ValueError, OverflowError):
                continue
            if content[::-1].find(reversed_secret.encode()) >= 0:
                found.append(line)
print(len(found))
"""


def prepare(arena):
    arena.facts(reversed=arena.token[::-1])


def _search(text):
    done = subprocess.run(
        [sys.executable, "-I", "-c", _SEARCH, "self"], input=text, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def inside():
    hidden("the secret in a fresh process", lambda: _search(FACTS["reversed"]))
    works(
        "finding what is there",
        lambda: _search("rabnes_desrever"[::-1][::-1]) >= 0 and _search("terces_desrever") > 0,
    )

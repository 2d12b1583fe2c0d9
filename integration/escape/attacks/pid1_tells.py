"""Read the supervisor's environment and arguments from pid 1, which is a copy of it.

Tokens live in the caller's environment. Source: proc(5); the memory of a forked pid 1 is its parent's.
"""

import os
from pathlib import Path

from attempt import FACTS, denied, hidden, works


def prepare(arena):
    arena.facts(reversed=arena.token[::-1])


def inside():
    token = FACTS["reversed"][::-1].encode()
    for name in ("environ", "cmdline", "stat", "status", "comm"):
        hidden(f"/proc/1/{name}", lambda name=name: token in Path(f"/proc/1/{name}").read_bytes())
    for name in ("mem", "maps", "smaps", "auxv", "stack", "pagemap"):
        denied(f"/proc/1/{name}", lambda name=name: Path(f"/proc/1/{name}").open("rb").read(1))
    hidden("own environment", lambda: [key for key, value in os.environ.items() if token.decode() in value])
    hidden("own /proc/self/environ", lambda: token in Path("/proc/self/environ").read_bytes())
    works("a variable that the policy sets", lambda: os.environ["HOME"])

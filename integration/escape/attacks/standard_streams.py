"""Do more with a standard stream than it was opened for.

`/proc/self/fd/0` opens the caller's file anew, through the caller's mounts: a file that was handed in for
reading could be written, one that was handed in for appending could be read.
Source: proc(5), open(2); the sandbox's mounts do not lie on that way, Landlock does.
"""

import os

from attempt import FACTS, denied, works

WAYS = ("run", "hook")


def outside(arena, way):
    kept = arena.place / "outside" / "kept"
    kept.write_text(arena.token)
    protected = arena.project / "pyproject.toml"
    log = arena.place / "outside" / "log"
    log.write_text("earlier lines")
    for path in (kept, log):
        os.chmod(path, 0o666)
    printed = b""
    for given in (kept, protected):
        arena.facts(kind="file", given=str(given))
        with given.open() as stream, log.open("a") as errors:
            command = [*arena.pypm, "run", *arena.inner("standard_streams")]
            printed += arena.finish(
                arena.start(command, cwd=arena.project, stdin=stream, stderr=errors)
            ).stdout
    arena.facts(kind="folder")
    folder = os.open(arena.place, os.O_RDONLY)
    try:
        command = [
            *arena.pypm,
            "run",
            "sh",
            "-c",
            "cat outside/kept /proc/self/fd/0/outside/kept && echo '@escaped|a folder as standard input|read'; exec </dev/null; python attack/attempt.py standard_streams",
        ]
        return printed + arena.finish(arena.start(command, cwd=arena.project, stdin=folder)).stdout
    finally:
        os.close(folder)


def inside():
    if FACTS["kind"] == "folder":
        return
    denied(
        f"writing to standard input ({os.path.basename(FACTS['given'])})",
        lambda: os.open("/proc/self/fd/0", os.O_RDWR),
    )
    denied("truncating standard input", lambda: os.truncate("/proc/self/fd/0", 0))
    denied("reading standard error", lambda: os.read(os.open("/proc/self/fd/2", os.O_RDONLY), 10))
    works("reading standard input anew", lambda: os.read(os.open("/dev/stdin", os.O_RDONLY), 10))
    works(
        "writing standard error anew",
        lambda: os.write(os.open("/dev/stderr", os.O_WRONLY | os.O_APPEND), b"."),
    )

"""Do more with a standard stream than it was opened for.

`/proc/self/fd/0` opens the caller's file anew, through the caller's mounts: a file that was handed in for
reading could be written, one that was handed in for appending could be read.
Source: proc(5), open(2); the sandbox's mounts do not lie on that way, Landlock does.
"""

import os

from attempt import FACTS, denied, works

WAYS = ("run",)


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
    for folder in (arena.place, arena.project):
        opened = os.open(folder, os.O_RDONLY)
        try:
            command = [*arena.pypm, "run", *arena.inner("standard_streams")]
            told = arena.finish(arena.start(command, cwd=arena.project, stdin=opened)).stdout
        finally:
            os.close(opened)
        refused = b"@works" not in told and b"@denied" not in told
        printed += b"@%s|a folder as standard input|%s\n" % (
            b"denied" if refused else b"escaped",
            told[:80].replace(b"\n", b" "),
        )
    # In the project a file that is not protected stays what it is.
    arena.facts(kind="position")
    lines = arena.project / "src" / "lines"
    lines.write_text("first\nsecond\n")
    command = [*arena.pypm, "run", "sh", "-c", "read a; cat"]
    for path in (lines, protected):
        with path.open() as stream:
            stream.seek(3)
            told = arena.finish(arena.start(command, cwd=arena.project, stdin=stream)).stdout
        rest = path.read_bytes()[3:].partition(b"\n")[2]
        printed += b"@%s|the position in %s|\n" % (
            b"works" if told.endswith(rest) and rest else b"broken",
            path.name.encode(),
        )
    return printed


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

"""Change how the caller's streams behave for whoever else has them open: the shell, the next of a pipeline.

Status flags belong to the open file and not to the process: after `O_NONBLOCK` the caller's own programs fail
with EAGAIN, without `O_APPEND` they write over the log that they meant to append to.
Source: fcntl(2), F_SETFL; open(2).
"""

import fcntl
import os

from attempt import works

WAYS = ("run", "shell")
_MOST = os.O_NONBLOCK | os.O_ASYNC | os.O_APPEND


def outside(arena, way):
    if way.name == "shell":
        return _on_a_terminal(arena, way)
    ours, theirs = os.pipe()
    log = os.open(arena.place / "outside" / "appended", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    streams = {"standard input": ours, "standard output": theirs, "standard error": log}
    before = _flags(streams)
    command = [*arena.pypm, "run", *arena.inner("stream_flags")]
    process = arena.start(command, cwd=arena.project, stdin=ours, stdout=theirs, stderr=log)
    process.wait(60)
    printed = os.read(ours, 65536)
    changed = {name for name, flags in _flags(streams).items() if flags != before[name]}
    for name, descriptor in streams.items():
        printed += b"@%s|the flags of %s|\n" % (
            b"escaped" if name in changed else b"denied",
            name.encode(),
        )
        os.close(descriptor)
    return printed


def _on_a_terminal(arena, way):
    """The caller's terminal is not handed in at all; the stream that it is keeps its flags."""
    typed = " ".join(arena.inner("stream_flags")) + "; exit\n"
    command = ["sh", "-c", '"$@"; python3 -c "import fcntl; print(fcntl.fcntl(0, 3) & %d)"' % _MOST, "sh"]
    shown = arena.type([*command, *way.command(["stream_flags"])], typed, prompt=b" sandbox:")
    verdict = b"denied" if shown.rstrip().endswith(b"0") else b"escaped"
    return shown + b"\n@%s|the flags of the terminal|\n" % verdict


def _flags(streams):
    return {name: fcntl.fcntl(descriptor, fcntl.F_GETFL) for name, descriptor in streams.items()}


def _toggle(descriptor):
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) ^ _MOST)
    return fcntl.fcntl(descriptor, fcntl.F_GETFL)


def inside():
    for descriptor in (0, 2, 1):
        works(f"other flags for {descriptor}", lambda descriptor=descriptor: _toggle(descriptor))

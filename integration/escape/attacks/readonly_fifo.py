"""Write into a FIFO that lies in a protected folder: read-only mounts do not stop that, and a reader may obey.

Source: mount(2): MS_RDONLY says nothing about FIFOs and sockets.
"""

import os
import tempfile

from attempt import PROJECT, denied, works

WAYS = ("run", "shell", "hook", "bwrap")
_FIFO = ".git/control"
_READERS = []


def prepare(arena):
    path = arena.project / _FIFO
    os.mkfifo(path)
    os.chmod(path, 0o666)
    _READERS.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK))


def afterwards(arena):
    while _READERS:
        reader = _READERS.pop()
        try:
            yield "bytes in the host's FIFO", bool(os.read(reader, 10))
        except BlockingIOError:
            yield "bytes in the host's FIFO", False
        os.close(reader)
    (arena.project / _FIFO).unlink(missing_ok=True)


def inside():
    denied(
        "writing into it",
        lambda: os.write(os.open(PROJECT / _FIFO, os.O_WRONLY | os.O_NONBLOCK), b"x"),
    )

    def own():
        path = tempfile.mkdtemp() + "/fifo"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        return os.write(os.open(path, os.O_WRONLY), b"x") and os.read(reader, 1)

    works("a FIFO of one's own", own)

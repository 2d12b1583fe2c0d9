"""Write into a FIFO that lies in a read-only mount: mounts do not stop that, and a host's reader may obey.

Source: mount(2): MS_RDONLY says nothing about FIFOs and sockets.
"""

import os
import tempfile

from attempt import PROJECT, denied, works

WAYS = ("run", "shell", "hook", "bwrap")


def prepare(arena):
    path = arena.project / ".git" / "control"
    if not path.exists():
        os.mkfifo(path)
        os.chmod(path, 0o666)
    _READERS.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK))


_READERS = []


def afterwards(arena):
    while _READERS:
        reader = _READERS.pop()
        try:
            yield "bytes in the host's FIFO", bool(os.read(reader, 10))
        except BlockingIOError:
            yield "bytes in the host's FIFO", False
        os.close(reader)


def inside():
    denied(
        "writing into it",
        lambda: os.write(os.open(PROJECT / ".git" / "control", os.O_WRONLY | os.O_NONBLOCK), b"x"),
    )

    def own():
        path = tempfile.mkdtemp() + "/fifo"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        return os.write(os.open(path, os.O_WRONLY), b"x") and os.read(reader, 1)

    works("a FIFO of one's own", own)

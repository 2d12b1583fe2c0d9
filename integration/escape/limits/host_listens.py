"""Talk to a host's program that listens in the project: at a socket, at a FIFO, at one of them deep in `.git`.

Whoever sees the path of either reaches the other end, read-only mounts do not stop it. What lies in a
protected folder itself is covered, those are the attacks `readonly_fifo` and `protected_socket`; deeper down
nobody looks for it, nor for sockets where all of the project is read-only, as it is for plugins.
Source: unix(7); mount(2): MS_RDONLY says nothing about FIFOs and sockets.
"""

import os
import socket

from attempt import PROJECT, beyond, denied, works

# Hooks and runs see the project where it lies; a build's copy holds no sockets.
WAYS = ("run", "shell", "hook", "bwrap")
LIMIT = (
    "a socket or FIFO with a path is reached by whoever sees the path; "
    "those that lie in a protected folder itself are covered, but not deeper ones, nor sockets for plugins"
)
_SOCKETS = ("src/listens.sock", ".git/info/deeper/listens.sock")
_FIFOS = ("src/listens.fifo", ".git/info/deeper/listens.fifo")
_LISTENING = []


def prepare(arena):
    (arena.project / ".git/info/deeper").mkdir(parents=True, exist_ok=True)
    for name in _FIFOS:
        os.mkfifo(arena.project / name)
        _LISTENING.append(os.open(arena.project / name, os.O_RDONLY | os.O_NONBLOCK))
    for name in _SOCKETS:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(arena.project / name))
        server.listen()
        _LISTENING.append(server.detach())
    for name in (*_FIFOS, *_SOCKETS):
        os.chmod(arena.project / name, 0o777)


def afterwards(arena):
    while _LISTENING:
        os.close(_LISTENING.pop())
    for name in (*_FIFOS, *_SOCKETS):
        (arena.project / name).unlink(missing_ok=True)
    return []


def _connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def _write(path):
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        return os.write(descriptor, b"x")
    finally:
        os.close(descriptor)


def inside():
    for name in _SOCKETS:
        beyond(name, lambda name=name: _connect(PROJECT / name))
    for name in _FIFOS:
        beyond(name, lambda name=name: _write(PROJECT / name))
    denied("a file beside them", lambda: open(PROJECT / ".git/info/deeper/planted", "w"))
    works("seeing them", lambda: [os.lstat(PROJECT / name) for name in (*_SOCKETS, *_FIFOS)])

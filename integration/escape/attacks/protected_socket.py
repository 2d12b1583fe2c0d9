"""Connect to a host's program that listens in a protected folder, as git's own file system monitor does.

Source: unix(7); mount(2): MS_RDONLY says nothing about FIFOs and sockets; git-fsmonitor--daemon(1).
"""

import os
import socket

from attempt import PROJECT, denied, works

# A plugin sees the project as it lies; that its sockets answer there is in the limit `host_listens`.
WAYS = ("run", "shell", "bwrap")
_SOCKET = ".git/fsmonitor--daemon.ipc"
_SERVERS = []


def prepare(arena):
    path = arena.project / _SOCKET
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    os.chmod(path, 0o777)
    server.listen()
    server.setblocking(False)
    _SERVERS.append(server)


def afterwards(arena):
    while _SERVERS:
        with _SERVERS.pop() as server:
            try:
                server.accept()
            except BlockingIOError:
                yield "a connection to the host's program", False
            else:
                yield "a connection to the host's program", True
    (arena.project / _SOCKET).unlink(missing_ok=True)


def _connect(kind):
    with socket.socket(socket.AF_UNIX, kind) as client:
        client.connect(str(PROJECT / _SOCKET))


def inside():
    denied("connecting to it", lambda: _connect(socket.SOCK_STREAM))
    denied("the same with other messages", lambda: _connect(socket.SOCK_SEQPACKET))
    denied("taking it away", lambda: os.unlink(PROJECT / _SOCKET))
    works("seeing it", lambda: os.lstat(PROJECT / _SOCKET))

"""Reach the process at the other end of a standard stream that is a socket.

Service managers and shells over a network hand sockets in. The kernel tells who made them, by pid and by a
descriptor of the process, and takes descriptors along with the bytes.
Source: unix(7), SO_PEERCRED, SO_PEERPIDFD and SCM_RIGHTS; pidfd_send_signal(2), setns(2).
"""

import os
import signal
import socket
import struct

from attempt import call, denied, hidden, works

WAYS = ("run",)
_SO_PEERPIDFD = 77


def outside(arena, way):
    command = way.command(["socket_as_stream"])
    ours, theirs = socket.socketpair()
    folder = os.open(arena.place / "outside", os.O_RDONLY)
    with ours:
        with theirs:
            process = arena.start(command, cwd=arena.project, stdin=theirs)
        # What a careless host hands over with the bytes.
        socket.send_fds(ours, [b"x"], [folder])
        os.close(folder)
        printed = arena.finish(process).stdout
    return printed


def inside():
    stream = socket.socket(fileno=0)

    def peer():
        return struct.unpack("i", stream.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4))[0]

    denied("a signal to the peer", lambda: signal.pidfd_send_signal(peer(), signal.SIGTERM))
    denied("a descriptor of the peer's", lambda: call("pidfd_getfd", peer(), 0, 0))
    denied("the peer's namespaces", lambda: call("setns", peer(), 0x10000000))
    hidden(
        "the peer's pid",
        lambda: struct.unpack("iII", stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0],
    )
    data, (folder, *_), _, _ = socket.recv_fds(stream, 1, 1)
    works("the bytes that were sent", lambda: data == b"x")
    denied("reading in a folder that came along", lambda: os.open("secret", os.O_RDONLY, dir_fd=folder))
    denied("writing in it", lambda: os.open("planted", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
    denied("leaving by it", lambda: (os.fchdir(folder), open("secret").read()))

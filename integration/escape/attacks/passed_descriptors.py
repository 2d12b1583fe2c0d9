"""Take descriptors from a host's process over a Unix socket, and hand it some (SCM_RIGHTS).

A descriptor brings its file along, whatever the receiver sees of the file system: one folder of the host's is
enough to leave by. Abstract names belong to the network namespace, paths to whoever sees them; a host's
program that listens in the project itself can be reached (the limit `host_listens`), and may hand out what it
likes.
Source: unix(7), SCM_RIGHTS and SO_PEERPIDFD; CVE-2020-15257 (containerd's abstract socket), CVE-2024-21626.
"""

import contextlib
import os
import signal
import socket
import struct
import threading

from attempt import FACTS, PROJECT, denied, hidden, works

# Hooks and runs see the project where it lies; a build's copy holds no sockets.
WAYS = ("run", "shell", "hook", "bwrap")
_SO_PEERPIDFD = 77
_SERVERS = []
_HANDED_OVER = []


def prepare(arena):
    names = {
        "abstract": f"\0descriptors-{os.getpid()}-{os.path.basename(arena.place)}-{arena.folder}",
        "outside": str(arena.place / "outside" / "descriptors.sock"),
        "shared": str(arena.project / "src" / "descriptors.sock"),
    }
    for kind, name in names.items():
        server = socket.socket(socket.AF_UNIX)
        server.bind(name)
        if not name.startswith("\0"):
            os.chmod(name, 0o777)
        server.listen()
        _SERVERS.append(server)
        threading.Thread(
            target=_serve, args=(server, kind, str(arena.place / "outside")), daemon=True
        ).start()
    arena.facts(abstract=names["abstract"][1:], outside=names["outside"])


def _serve(server, kind, folder):
    """A host's program that hands out a folder to whoever comes, and takes what it is given."""
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        with client, contextlib.suppress(OSError):
            opened = os.open(folder, os.O_RDONLY)
            socket.send_fds(client, [b"x"], [opened])
            os.close(opened)
            client.settimeout(5)
            _, taken, _, _ = socket.recv_fds(client, 1, 8)
            for each in taken:
                os.close(each)
            if taken and kind != "shared":
                _HANDED_OVER.append(kind)


def afterwards(arena):
    while _SERVERS:
        server = _SERVERS.pop()
        name = server.getsockname()
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        if isinstance(name, str) and name:
            os.unlink(name)
    yield "a descriptor at the host's program", bool(_HANDED_OVER)
    _HANDED_OVER.clear()


def _take(address):
    """Take a folder from whoever listens there, and give it one of ours."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(address)
        _, (folder, *_), _, _ = socket.recv_fds(client, 1, 1)
        own = os.open(".", os.O_RDONLY)
        socket.send_fds(client, [b"x"], [own])
        os.close(own)
        return folder


def _handed(use):
    """Use the folder that a host's program in the project hands out."""
    folder = _take(str(PROJECT / "src" / "descriptors.sock"))
    try:
        return use(folder)
    finally:
        os.close(folder)


def _peer(use):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(PROJECT / "src" / "descriptors.sock"))
        return use(client)


def _signal_peer(client):
    descriptor = struct.unpack("i", client.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4))[0]
    return signal.pidfd_send_signal(descriptor, 0)


def _peers_pid(client):
    return struct.unpack("iII", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


def _among_ourselves():
    ours, theirs = socket.socketpair()
    with ours, theirs, open(__file__, "rb") as stream:
        socket.send_fds(ours, [b"x"], [stream.fileno()])
        _, (taken, *_), _, _ = socket.recv_fds(theirs, 1, 1)
        with os.fdopen(taken, "rb") as again:
            return again.read(1) == b'"'


def inside():
    denied("by an abstract socket", lambda: _take("\0" + FACTS["abstract"]))
    denied("by a socket outside", lambda: _take(FACTS["outside"]))
    denied(
        "reading in a folder that was handed out",
        lambda: _handed(lambda f: os.open("secret", os.O_RDONLY, dir_fd=f)),
    )
    denied(
        "writing in it",
        lambda: _handed(lambda f: os.open("planted-by-descriptor", os.O_WRONLY | os.O_CREAT, dir_fd=f)),
    )
    denied(
        "a link out of it",
        lambda: _handed(lambda f: os.link("secret", PROJECT / "src" / "linked", src_dir_fd=f)),
    )
    denied("removing in it", lambda: _handed(lambda f: os.unlink("secret", dir_fd=f)))
    denied(
        "leaving by it", lambda: _handed(lambda f: (os.fchdir(f), os.listdir("..") and open("secret").read()))
    )
    denied("a signal by the peer's pidfd", lambda: _peer(_signal_peer))
    hidden("the peer's pid", lambda: _peer(_peers_pid))
    hidden("names of the host's sockets", lambda: FACTS["abstract"] in open("/proc/net/unix").read())
    works("a descriptor between processes of one's own", _among_ourselves)

"""Talk to the host's services by Unix sockets: docker, D-Bus, the ssh agent, systemd.

Abstract sockets belong to the network namespace, pathname sockets to whoever sees the path.
Source: unix(7); CVE-2020-15257 (containerd's abstract socket).
"""

import os
import socket
import tempfile

from attempt import FACTS, denied, works

_SERVERS = []


def prepare(arena):
    path = str(arena.place / "outside" / "agent.sock")
    name = f"\0escape-{os.getpid()}-{len(_SERVERS)}-{os.path.basename(arena.place)}"
    if os.path.exists(path):
        os.unlink(path)
    for address in (path, name):
        server = socket.socket(socket.AF_UNIX)
        server.bind(address)
        server.listen()
        _SERVERS.append(server)
    os.chmod(path, 0o777)
    arena.facts(path=path, name=name[1:])


def afterwards(arena):
    while _SERVERS:
        _SERVERS.pop().close()
    return ()


def _connect(address, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_UNIX, kind) as client:
        client.connect(address)


def inside():
    denied("an abstract socket", lambda: _connect("\0" + FACTS["name"]))
    denied("an abstract socket's datagrams", lambda: _connect("\0" + FACTS["name"], socket.SOCK_DGRAM))
    known = (
        FACTS["path"],
        "/run/docker.sock",
        "/var/run/docker.sock",
        "/run/dbus/system_bus_socket",
        "/run/systemd/private",
        "/run/systemd/notify",
        "/dev/log",
        "/tmp/.X11-unix/X0",
    )
    for path in known:
        denied(path.rpartition("/")[2], lambda path=path: _connect(path))
    works("a socket of one's own", lambda: socket.socketpair() and True)

    def own():
        server = socket.socket(socket.AF_UNIX)
        server.bind(tempfile.mkdtemp() + "/s")
        server.listen()
        _connect(server.getsockname())

    works("a pathname socket of one's own", own)

"""A host that a run may reach, for attacks on the allow-list; it remembers who came and what was said."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from types import ModuleType

from integration.escape.harness import Arena


class AllowedHost:
    """Echoes at a port of this machine; beside it stands another that nobody was allowed."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self._listed = socket.create_server((address, 0))
        self._other = socket.create_server((address, 0))
        self.port = self._listed.getsockname()[1]
        self.other_port = self._other.getsockname()[1]
        self.heard = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> bool:
        """End; tell whether somebody came to the port that is not listed."""
        came = bool(select.select([self._other], [], [], 0.05)[0])
        for each in (self._listed, self._other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        return came

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listed.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while block := connection.recv(65536):
                self.heard += block
                connection.sendall(block)


_OPEN: list[AllowedHost] = []


def allow(arena: Arena, attack: ModuleType, *further: str) -> None:
    """Open a host, list it as `localhost`, and `further`, in the attack's flags; tell the attacker of it."""
    _list(arena, attack, AllowedHost(), ("localhost:{port}", *further))


def allow_own_name(arena: Arena, attack: ModuleType) -> None:
    """The same by the name that this machine has, with the address that it leads to listed as a network.

    What is listed as `localhost` or by its address may be called anything by TLS; a name is held to itself.
    """
    name = socket.gethostname()
    address = socket.gethostbyname(name)
    arena.facts(host_name=name)
    _list(arena, attack, AllowedHost(address), (f"{name}:{{port}}", f"{address}/32"))


def _list(arena: Arena, attack: ModuleType, host: AllowedHost, names: tuple[str, ...]) -> None:
    _OPEN.append(host)
    flags = tuple(f"--allow-net={name.format(port=host.port)}" for name in names)
    vars(attack)["FLAGS"] = flags
    arena.facts(allowed=host.port, unlisted=host.other_port)


def seen(marker: bytes = b"STOLEN") -> list[tuple[str, bool]]:
    """What is looked for afterwards: nobody at the other port, and no marked byte at the listed one."""
    host = _OPEN.pop()
    came = host.close()
    return [
        ("a connection to a port that is not listed", came),
        ("marked bytes at the host", marker in host.heard),
    ]

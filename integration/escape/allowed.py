"""A host that a run may reach, for attacks on the allow-list; it remembers who came and what was said."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Sequence


class AllowedHost:
    """Echoes at a port of this machine; beside it stands another that nobody was allowed."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._listed = socket.create_server((address, 0))
        self._other = socket.create_server((address, 0))
        self._heard = b""
        self.flags: tuple[str, ...] = ()
        """Of pypm, which list it."""
        threading.Thread(target=self._serve, daemon=True).start()

    @classmethod
    def of(cls, listed: Sequence[str]) -> AllowedHost:
        """Open one for what an attack lists: names with `{port}`, `{host}` and `{address}` to be filled in.

        It listens where the first of them leads. What is listed as `localhost` or by its address may be
        called anything by TLS; the machine's own name, `{host}`, is held to itself.
        """
        name = socket.gethostname()
        address = socket.gethostbyname(name)
        host = cls("127.0.0.1" if listed[0].startswith("localhost") else address)
        port = host._listed.getsockname()[1]
        host.flags = tuple(
            f"--allow-net={each.format(port=port, host=name, address=address)}" for each in listed
        )
        return host

    @property
    def facts(self) -> dict[str, object]:
        """What the attacker is told."""
        return {
            "allowed": self._listed.getsockname()[1],
            "unlisted": self._other.getsockname()[1],
            "host_name": socket.gethostname(),
        }

    def __enter__(self) -> AllowedHost:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listed, self._other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def seen(self, marker: bytes = b"STOLEN") -> list[tuple[str, bool]]:
        """What is looked for afterwards: nobody at the other port, and no marked byte at the listed one."""
        came = bool(select.select([self._other], [], [], 0.05)[0])
        return [
            ("a connection to a port that is not listed", came),
            ("marked bytes at the host", marker in self._heard),
        ]

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
                self._heard += block
                connection.sendall(block)

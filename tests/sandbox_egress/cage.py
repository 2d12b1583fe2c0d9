"""A network namespace with an allow-list, for tests: a script runs inside, the egress serves it from here."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sandbox.linux.egress import (
    AllowList,
    Egress,
    EgressSettings,
    NetworkReport,
    namespace_plan,
    receive_sockets,
)
from sandbox.linux.egress_files import resolver_files

CHECKOUT = Path(__file__).resolve().parent.parent.parent
CHILD = Path(__file__).with_name("cage_child.py")
LOOPBACK = ("127.0.0.0/8", "::1/128")
"""Where the tests' servers stand; the policy of a test opens it on purpose."""


class Cage:
    """One child in its namespaces, served; `run` it once."""

    def __init__(
        self,
        allowed: AllowList,
        settings: EgressSettings,
        *,
        unprivileged: bool = True,
        without_ipv6: bool = False,
    ) -> None:
        self.egress = Egress(allowed, settings)
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        plan = namespace_plan(allowed)
        self._job: dict[str, Any] = {
            "checkout": str(CHECKOUT),
            "unprivileged": unprivileged,
            "without_ipv6": without_ipv6,
            "files": resolver_files("cage"),
            "required": [each.hex() for each in plan.required],
            "optional": [each.hex() for each in plan.optional],
            "endpoints": plan.endpoints,
        }
        self._allowed = allowed
        self._theirs = theirs

    def run(self, script: str, **arguments: Any) -> Any:
        """Run a script inside and return what it left in `result`."""
        job = {**self._job, "script": script, "arguments": arguments}
        descriptor = self._theirs.fileno()
        self._channel.settimeout(60)
        with subprocess.Popen(
            [sys.executable, "-I", str(CHILD), str(descriptor)], pass_fds=(descriptor,)
        ) as child:
            self._theirs.close()
            try:
                self._channel.send(json.dumps(job).encode())
                entered = json.loads(self._channel.recv(1 << 16))
                if "unsupported" in entered:
                    pytest.skip(f"this host gives no network namespace: {entered['unsupported']}")
                self.egress.serve(receive_sockets(self._channel, self._allowed))
                self.go_on()
                answer = json.loads(self._channel.recv(1 << 20))
            except BaseException:
                self.egress.close(drain_seconds=0)
                raise
            finally:
                self._channel.close()
                child.kill()
        if "error" in answer:
            pytest.fail(f"{answer['error']}\n{self.egress.close(drain_seconds=0)}")
        return answer["result"]

    def go_on(self) -> None:
        """Let the script's next `wait()` return; the first lets it start."""
        self._channel.send(b"x")


def to(*targets: tuple[str, tuple[str, int]]) -> Callable[[str, int], Sequence[tuple[str, int]]]:
    """An upstream resolver that knows these names."""
    table: dict[str, list[tuple[str, int]]] = {}
    for name, target in targets:
        table.setdefault(name, []).append(target)

    def resolve(name: str, port: int) -> Sequence[tuple[str, int]]:
        if name not in table:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return table[name]

    return resolve


@contextmanager
def server(handle: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """A server outside; each connection is handled in a thread of its own and closed afterwards."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, backlog=4096) as listener:

        def serve_one(connection: socket.socket) -> None:
            # Where the other side resets, what the test is about shows inside.
            with connection, suppress(OSError):
                handle(connection)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError as error:
                    if error.errno == errno.EMFILE:
                        time.sleep(0.01)  # A test takes our descriptors away for a while.
                        continue
                    return
                threading.Thread(target=serve_one, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[:2]
        listener.shutdown(socket.SHUT_RDWR)


def echo(connection: socket.socket) -> None:
    """Send back whatever comes, and the end too."""
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def closes_down_to(count: int) -> bool:
    """Wait for the test servers' threads to close theirs; what the egress leaked would never go."""
    for _ in range(1000):
        if open_descriptors() <= count:
            return True
        time.sleep(0.01)
    return False


__all__ = ["LOOPBACK", "Cage", "NetworkReport", "closes_down_to", "echo", "open_descriptors", "server", "to"]

"""The allow-list of one sandbox as its supervisor serves it: from before the clone of pid 1 to the report.

Pid 1 makes the sockets, sends them here and waits for one byte: no command starts before they are served.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterable

from sandbox.errors import SetupError
from sandbox.linux.egress import Egress, EgressSettings, allow_list, receive_sockets
from sandbox.linux.egress_namespace import SERVED
from sandbox.traffic import NetworkReport


class Service:
    """One allow-list at work. Made before the clone, so that pid 1 has every module that it needs."""

    def __init__(self, allowed: Iterable[tuple[str, int]], networks: tuple[str, ...]) -> None:
        """Raises: PolicyError."""
        self._allowed = allow_list(allowed)
        self._egress = Egress(self._allowed, EgressSettings(networks=networks))
        self._channel, inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.inside = inside.detach()
        """The end over which pid 1 sends the sockets."""
        self.failure: SetupError | None = None
        """Why the sockets are not served; pid 1 fails then, too."""
        self._taking: threading.Thread | None = None

    @property
    def outside(self) -> int:
        """The supervisor's end, which pid 1 must not keep."""
        return self._channel.fileno()

    def begin(self) -> None:
        """Take the sockets as soon as pid 1 has made them, and serve them.

        Called when nothing is forked any more: a thread waits for them, because the one that calls this has
        signals to take and a time limit to keep.
        """
        self._close_inside()
        try:
            thread = threading.Thread(target=self._take, name="egress-start", daemon=True)
            thread.start()
        except RuntimeError as error:
            self._fail(SetupError(f"the network allow-list cannot be served: {error}", stage="egress"))
            return
        self._taking = thread

    def close(self) -> NetworkReport:
        """End, once everything inside has; what was sent by then is delivered. Returns what was counted."""
        self._close_inside()
        if self._taking is not None:
            # Wakes the thread, should pid 1 have ended while somebody else holds its end open.
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_RDWR)
            self._taking.join()
            self._taking = None
        self._channel.close()
        return self._egress.close()

    def _take(self) -> None:
        try:
            self._egress.serve(receive_sockets(self._channel, self._allowed))
            self._channel.send(SERVED)
        except SetupError as error:
            self._fail(error)
        except OSError:
            return  # Pid 1 is gone.

    def _fail(self, error: SetupError) -> None:
        """Let pid 1 find the channel closed."""
        self.failure = error
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)

    def _close_inside(self) -> None:
        if self.inside >= 0:
            os.close(self.inside)
            self.inside = -1

"""A line with a latency and a bandwidth in front of a server on this machine: what loopback has not."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from types import TracebackType

_PIECE_BYTES = 16 << 10
_PIECES_UNDER_WAY = 64
"""Of one connection and direction: about what a receiver's window holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a line is like."""

    megabits: float
    """A second, in each direction, which all connections share."""
    round_trip_ms: float

    def __str__(self) -> str:
        return f"{self.megabits:g} Mbit/s, {self.round_trip_ms:g} ms"


def parse_shape(text: str) -> Shape:
    """Return the shape of `MEGABITS:MILLISECONDS`. Raises: ValueError."""
    megabits, _, round_trip_ms = text.partition(":")
    return Shape(megabits=float(megabits), round_trip_ms=float(round_trip_ms))


class Line:
    """Passes TCP connections on to a server, as slowly as its shape says. Use it as a context manager."""

    def __init__(self, server: str, shape: Shape) -> None:
        """`server` is `HOST:PORT`."""
        self._server = server.rpartition(":")
        self._shape = shape
        self._free_at = {"in": 0.0, "out": 0.0}
        """When the line has sent all that was given to it, by direction."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Line:
        self._thread.start()
        started = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._listener = asyncio.run_coroutine_threadsafe(started, self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._listener.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def address(self) -> str:
        """`HOST:PORT` to connect to."""
        return f"127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._shape.round_trip_ms / 1000)  # The handshake has long been done here.
        host, _, port = self._server
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(self._pass(reader, back, "out"), self._pass(there, writer, "in"))

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, way: str) -> None:
        """Carry one direction of a connection to its end."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_PIECES_UNDER_WAY)
        arriving = asyncio.create_task(self._arrive(under_way, target))
        try:
            while piece := await source.read(_PIECE_BYTES):
                now = self._loop.time()
                self._free_at[way] = max(now, self._free_at[way]) + len(piece) * 8e-6 / self._shape.megabits
                await under_way.put((self._free_at[way] + self._shape.round_trip_ms / 2000, piece))
        except ConnectionError:
            pass
        await under_way.put((self._loop.time(), b""))
        await arriving

    async def _arrive(
        self, under_way: asyncio.Queue[tuple[float, bytes]], target: asyncio.StreamWriter
    ) -> None:
        """Hand over each piece when its time has come; the empty one is the end."""
        is_open = True
        while True:
            due, piece = await under_way.get()
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            try:
                if not piece:
                    target.close()
                    return
                if is_open:
                    target.write(piece)
                    await target.drain()
            except ConnectionError:
                is_open = False  # The rest is read and dropped, so that the other end sees its end.

"""What flows through the relay, in whatever pieces and at whatever pace, arrives whole and in order."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from hypothesis import event, given, settings
from hypothesis import strategies as st

from sandbox.linux.egress_dial import Lookups
from sandbox.linux.egress_loop import Loop
from sandbox.linux.egress_names import Directory, allow_list
from sandbox.linux.egress_reach import Reach
from sandbox.linux.egress_relay import Connection, Flow, Services, Waits
from sandbox.linux.egress_report import Tally

CHUNKS = st.binary(min_size=1, max_size=70_000)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), CHUNKS),
        st.tuples(st.just("take"), st.integers(1, 100_000)),
        st.tuples(st.just("pump"), st.sampled_from((1, 2, 7, 4096, 1 << 16))),
    ),
    max_size=25,
)
"""What the ends do meanwhile: the client writes, the server reads, the relay has a buffer of some size."""


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection with small buffers, neither of which waits."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        near = socket.socket()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        near.connect(server.getsockname())
        far, _ = server.accept()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        yield near, far


def _send(side: socket.socket, data: bytes) -> int:
    try:
        return side.send(data)
    except BlockingIOError:
        return 0


def _take(side: socket.socket, count: int) -> bytes | None:
    """What there is; None where there is nothing yet or was a reset, nothing at the end."""
    try:
        return side.recv(count)
    except (BlockingIOError, ConnectionResetError):
        return None


@settings(deadline=None, max_examples=60)
@given(held=st.binary(max_size=3000), steps=STEPS)
def test_a_flow_keeps_every_byte_and_passes_the_end_on_once(
    held: bytes, steps: list[tuple[str, bytes | int]]
) -> None:
    moved: list[int] = []
    with pair() as (client, source), pair() as (sink, server):
        flow = Flow(source, sink, moved.append)
        flow.held = held
        sent, taken = held, b""
        for action, value in steps:
            if isinstance(value, bytes):
                sent += value[: _send(client, value)]
            elif action == "take":
                taken += _take(server, value) or b""
            else:
                flow.pump(memoryview(bytearray(value)))
            assert sum(moved) <= len(sent) and sent.startswith(taken)
        client.shutdown(socket.SHUT_WR)
        buffer, deadline = memoryview(bytearray(1 << 16)), time.monotonic() + 30
        while (block := _take(server, 1 << 16)) != b"":
            taken += block or b""
            if flow.waits is not Waits.FOR_NOTHING:
                flow.pump(buffer)
            assert time.monotonic() < deadline
        assert taken == sent
        assert sum(moved) == len(sent)
        assert flow.waits is Waits.FOR_NOTHING


class Relay:
    """A connection through the relay to a server of this machine, with the loop driven by hand."""

    def __init__(self, stack: ExitStack) -> None:
        self.faults: list[Exception] = []
        self.ended = 0
        loop = Loop(self.faults.append)
        stack.callback(loop.close)
        self._loop = loop
        self._server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        address, port = self._server.getsockname()
        allowed = allow_list((("name.example", port),))
        self.tally = Tally()
        lookups = Lookups(loop, lambda *_: ((address, port),))
        stack.callback(lookups.close)
        services = Services(
            loop=loop,
            directory=Directory(allowed),
            lookups=lookups,
            reach=Reach(networks=("127.0.0.0/8",)),
            tally=self.tally,
            connect_timeout_seconds=20,
            buffer=memoryview(bytearray(4096)),
        )
        self.client, inner = stack.enter_context(pair())
        self.connection = Connection(services, inner, allowed.hosts[0], port, closed=self._closed)
        self.connection.start()

    def _closed(self, _: Connection) -> None:
        self.ended += 1

    def turn(self) -> None:
        """One round of the loop; a wake-up of our own keeps it from waiting."""
        self._loop.call_soon(lambda: None)
        self._loop._round()

    def accepted(self) -> socket.socket | None:
        self._server.settimeout(0)
        try:
            side, _ = self._server.accept()
        except BlockingIOError:
            return None
        side.setblocking(False)
        return side


class Host:
    """The server: it answers before it listens, or when it has heard all."""

    def __init__(self, answer: bytes, ends_early: bool) -> None:
        self.side: socket.socket | None = None
        self.heard, self.heard_all = b"", False
        self._answer, self._ends_early = answer, ends_early

    def begin(self, side: socket.socket) -> None:
        self.side = side
        if self._ends_early:
            self._say()

    def step(self) -> None:
        block = None if self.side is None or self.heard_all else _take(self.side, 1 << 16)
        self.heard += block or b""
        if block == b"":
            self.heard_all = True
            if not self._ends_early:
                self._say()

    def _say(self) -> None:
        assert self.side is not None
        with suppress(OSError):  # What is no greeting is cut off, and the host is told by a reset.
            self.side.sendall(self._answer)
            self.side.shutdown(socket.SHUT_WR)


FIRST = st.one_of(
    st.binary(min_size=1, max_size=600),
    st.binary(max_size=600).map(lambda rest: b"\x16\x03\x01" + rest),
    st.binary(max_size=300).map(lambda rest: b"\x16\x03\x01" + len(rest).to_bytes(2, "big") + rest),
)
"""What a client says first: anything, and what begins like a greeting of TLS."""


@settings(deadline=None, max_examples=60)
@given(
    first=FIRST,
    pieces=st.lists(st.integers(1, 200), max_size=6),
    answer=st.binary(max_size=5000),
    turns=st.integers(0, 3),
    ends_early=st.booleans(),
)
def test_a_connection_carries_what_it_may_and_ends_once(
    first: bytes, pieces: list[int], answer: bytes, turns: int, ends_early: bool
) -> None:
    """Whatever comes first: the host gets exactly that or nothing, and each end is told, with no fault."""
    with ExitStack() as stack:
        relay = Relay(stack)
        host = Host(answer, ends_early)
        rest, got = first, b""
        deadline = time.monotonic() + 30
        while relay.ended == 0:
            assert time.monotonic() < deadline
            if rest:
                rest = rest[_send(relay.client, rest[: pieces.pop() if pieces else len(rest)]) :]
                if not rest:
                    relay.client.shutdown(socket.SHUT_WR)
            for _ in range(turns + 1):
                relay.turn()
            if host.side is None and (side := relay.accepted()) is not None:
                host.begin(stack.enter_context(side))
            host.step()
            got += _take(relay.client, 1 << 16) or b""
        while block := _take(relay.client, 1 << 16):
            got += block
        relay.connection.abort()
        assert relay.ended == 1
        assert not relay.faults
        assert first.startswith(host.heard)
        assert answer.startswith(got)
        if relay.tally.report().refused_servers:
            event("refused")
            assert host.heard == b""
        elif host.heard_all:
            event("carried")
            assert (host.heard, got) == (first, answer)

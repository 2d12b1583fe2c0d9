"""The relay between the caller's terminal and a pseudo-terminal inside.

The payload never holds the caller's terminal: whoever does can type into it (TIOCSTI). The relay copies bytes
both ways, keeps the window size the same, suspends together with the payload, and gives the terminal back as
it was, whatever happens.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import socket
import termios
import time
import tty
from collections.abc import Callable, Iterator
from typing import Any

from sandbox import signals

_BLOCK_BYTES = 65536
_END_OF_INPUT = b"\x04"
"""VEOF of a fresh pty; sent when the caller's input ends without being a terminal."""


class Relay:
    """One pty, from before pid 1 is cloned until after it is dead."""

    def __init__(self, pending_signals: int, is_stopped: Callable[[bytes], bool]) -> None:
        """`pending_signals` is readable while one is pending; `is_stopped` reads a report of pid 1."""
        self._outside, inside = socket.socketpair()
        self.inside = inside.detach()
        """The end over which pid 1 sends the master side."""
        self._master = -1
        self._records = -1
        self._init = 0
        self._saved: list[Any] | None = None
        self._poll = select.poll()
        self._signals = pending_signals
        self._is_stopped = is_stopped
        self.told = b""
        """What was read from the report meanwhile."""

    def begin(self, init: int, records: int) -> None:
        """Take the master side over and put the caller's terminal into raw mode."""
        self._init, self._records = init, records
        self._close_inside()
        _, descriptors, _, _ = socket.recv_fds(self._outside, 1, 1)
        if not descriptors:
            return  # The set-up failed before there was a pty; the report says why.
        self._master = descriptors[0]
        for descriptor in (0, self._master, self._records, self._signals):
            self._poll.register(descriptor, select.POLLIN)
        self._copy_window_size()
        self._make_raw()

    def wait(self, timeout_seconds: float | None) -> int:
        """Copy bytes until a signal or the time comes; the same contract as `signals.wait`."""
        if self._master < 0:
            return signals.wait(timeout_seconds)
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            ready = [descriptor for descriptor, _ in self._poll.poll(left)]
            if not ready:
                return 0
            self._copy(ready)
            if self._signals in ready:
                number = signals.wait(0.0)
                if number == signals.SIGWINCH:
                    self._copy_window_size()
                elif number:
                    return number

    def close(self) -> None:
        """Copy what the payload wrote last, and give the terminal back as it was."""
        try:
            if self._master >= 0:
                with contextlib.suppress(OSError):
                    os.set_blocking(self._master, False)
                    while block := os.read(self._master, _BLOCK_BYTES):
                        _write_all(1, block)
        finally:
            self._restore()
            self._close_inside()
            self._outside.close()
            for descriptor in (self._master, self._signals):
                if descriptor >= 0:
                    os.close(descriptor)
            self._master = self._signals = -1

    def _copy(self, ready: list[int]) -> None:
        """Move one block for each descriptor that has some."""
        if self._master in ready:
            block = _read(self._master)
            _write_all(1, block) if block else self._poll.unregister(self._master)
        if 0 in ready:
            block = _read(0)
            if not block:
                self._poll.unregister(0)
            with contextlib.suppress(OSError):  # The payload may have closed its side.
                _write_all(self._master, block or _END_OF_INPUT)
        if self._records in ready:
            block = _read(self._records)
            if not block:
                self._poll.unregister(self._records)
            self.told += block
            if self._is_stopped(block):
                self._suspend()

    def _suspend(self) -> None:
        """The payload stopped itself: stop with the caller's whole job, and resume together."""
        self._restore()
        os.killpg(0, signals.SIGSTOP)
        self._copy_window_size()
        self._make_raw()
        os.kill(self._init, signals.SIGCONT)

    def _make_raw(self) -> None:
        if os.isatty(0):
            self._saved = termios.tcgetattr(0)
            tty.setraw(0)

    def _restore(self) -> None:
        if self._saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
            self._saved = None

    def _copy_window_size(self) -> None:
        """Give the pty the size of the caller's terminal; the kernel tells the foreground group inside."""
        size = array.array("H", (24, 80, 0, 0))
        if os.isatty(1):
            fcntl.ioctl(1, termios.TIOCGWINSZ, size)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def _close_inside(self) -> None:
        if self.inside >= 0:
            os.close(self.inside)
            self.inside = -1


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Put the terminal back even if the process that relays is killed."""
    saved = termios.tcgetattr(0) if os.isatty(0) else None
    try:
        yield
    finally:
        if saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)


def _read(descriptor: int) -> bytes:
    """One block; a pty whose other side has gone answers EIO, which is its end."""
    try:
        return os.read(descriptor, _BLOCK_BYTES)
    except OSError:
        return b""


def _write_all(descriptor: int, content: bytes) -> None:
    """Write everything."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]

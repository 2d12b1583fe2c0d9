"""The relay between the caller's terminal and a pseudo-terminal inside.

The payload never holds the caller's terminal: whoever does can type into it (TIOCSTI). The relay copies bytes
both ways, keeps the window size the same, suspends together with the payload, and gives the terminal back as
it was, whatever happens: a small process beside it does so when the relay itself is killed.

It never waits for one side alone. A payload that prints while nobody reads, or does not read what is typed,
would otherwise hold up the other direction, and the signals.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import socket
import stat
import termios
import time
import tty
from collections.abc import Callable, Iterator
from typing import Any

from sandbox import signals

_BLOCK_BYTES = 65536
_PLAIN_SCREEN = b"\x1b[?1047l\x1b[?1000;1002;1003;1006l\x1b[?1l\x1b>\x1b[?25h\x1b[0m"
"""The normal screen, no reports of the mouse, plain cursor keys, a visible cursor, no colour. `1047` and not
`1049`, which would move the cursor of a screen that was normal already. Source: XTerm Control Sequences."""
_LOOK_SECONDS = 0.2
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
        self._output = 1
        self._typed, self._printed = bytearray(), bytearray()
        """What was read from one side and not yet written to the other; a side is read when this is empty."""
        self._ended: set[int] = set()
        """Descriptors that have nothing more to say."""
        self._is_in_front = True
        """Whether the terminal is ours to read and to set: not while the shell has us in the background."""
        self._saved: list[Any] | None = None
        self._restorer: tuple[int, int] | None = None
        """Pid and pipe of the process that gives the terminal back if this one is killed."""
        self._signals = pending_signals
        self._is_stopped = is_stopped
        self.left_bytes: int | None = None
        """How much may still be printed, where there is a limit."""
        self.is_cut = False
        """Whether more came than that."""
        self.told = b""
        """What was read from the report meanwhile."""
        self.was_hung_up = False
        """Whether SIGHUP came: the kernel sends it when the caller is gone, before anything else shows it."""
        self.was_killed = False
        """Whether the command got no chance to leave the terminal as it found it."""

    def begin(self, init: int, records: int) -> None:
        """Take the master side over and put the caller's terminal into raw mode."""
        self._init, self._records = init, records
        self._close_inside()
        _, descriptors, _, _ = socket.recv_fds(self._outside, 1, 1)
        if not descriptors:
            return  # The set-up failed before there was a pty; the report says why.
        self._master = descriptors[0]
        os.set_blocking(self._master, False)
        self._output = _unblocked(1)
        self._take_terminal()

    def wait(self, timeout_seconds: float | None) -> int:
        """Copy bytes until a signal or the time comes; the same contract as `signals.wait`."""
        if self._master < 0:
            return signals.wait(timeout_seconds)
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = dict(self._interests().poll(self._patience(left)))
            if not self._is_in_front and _is_in_front():
                self._take_terminal()
            if not ready:
                if deadline is not None and time.monotonic() >= deadline:
                    return 0
                continue
            self._copy(ready)
            if self._signals in ready:
                number = signals.wait(0.0)
                if number in (signals.SIGWINCH, signals.SIGCONT):
                    self._take_terminal()
                self.was_hung_up = self.was_hung_up or number == signals.SIGHUP
                if number and number != signals.SIGWINCH:
                    return number

    def close(self) -> None:
        """Copy what the payload wrote last, and give the terminal back as it was."""
        try:
            with contextlib.suppress(OSError):  # The terminal may be gone.
                os.set_blocking(self._output, True)
                _write_all(self._output, bytes(self._printed))
                while self._master >= 0 and (block := os.read(self._master, _BLOCK_BYTES)):
                    _write_all(self._output, self._within_limit(block))
            if self.was_killed and self._saved is not None and self._is_in_front:
                with contextlib.suppress(OSError):
                    _write_all(self._output, _PLAIN_SCREEN)
        finally:
            self._restore()
            self._dismiss_restorer()
            self._close_inside()
            self._outside.close()
            for descriptor in (self._master, self._signals, self._output):
                if descriptor > 2:
                    os.close(descriptor)
            self._master = self._signals = -1

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Give the terminal back for as long as this process stops."""
        self._restore()
        yield
        self._take_terminal()

    def _patience(self, left_seconds: float | None) -> float | None:
        """Milliseconds to wait. A shell tells nobody that it brings a job to the front: look for it."""
        seconds = left_seconds
        if not self._is_in_front:
            seconds = _LOOK_SECONDS if left_seconds is None else min(left_seconds, _LOOK_SECONDS)
        return None if seconds is None else seconds * 1000

    def _interests(self) -> select.poll:
        """What there is to wait for: input where there is room for it, output where there is something."""
        poll = select.poll()
        wanted = {self._signals: select.POLLIN, self._records: select.POLLIN}
        wanted[self._master] = 0 if self._printed else select.POLLIN
        if self._typed:
            wanted[self._master] |= select.POLLOUT
        elif self._is_in_front:
            wanted[0] = select.POLLIN
        if self._printed:
            wanted[self._output] = select.POLLOUT
        for descriptor, events in wanted.items():
            if descriptor not in self._ended:
                poll.register(descriptor, events)
        return poll

    def _copy(self, ready: dict[int, int]) -> None:
        """Move what is there, in both directions."""
        if self._master in ready and not self._printed and ready[self._master] != select.POLLOUT:
            block = _read(self._master)
            if block == b"":
                self._ended.add(self._master)
            was_cut = self.is_cut
            self._printed += self._within_limit(block or b"")
            if self.is_cut and not was_cut:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._init, signals.SIGHUP)
        if 0 in ready:
            block = _read(0)
            if block == b"":
                self._ended.add(0)
            self._typed += _END_OF_INPUT if block == b"" else block or b""
        if self._typed and not _write_some(self._master, self._typed):
            self._typed.clear()  # The payload has closed its side.
        if self._printed and not _write_some(self._output, self._printed):
            self._printed.clear()
            self._hang_up()
        if self._records in ready:
            block = _read(self._records)
            if block == b"":
                self._ended.add(self._records)
            self.told += block or b""
            if self._is_stopped(block or b""):
                self._suspend()

    def _within_limit(self, block: bytes) -> bytes:
        """The part of `block` that may be printed."""
        if self.left_bytes is None:
            return block
        allowed = block[: self.left_bytes]
        self.left_bytes -= len(allowed)
        self.is_cut = self.is_cut or len(allowed) < len(block)
        return allowed

    def _hang_up(self) -> None:
        """The caller's terminal is gone: what inside would have been told of it is told."""
        self._ended |= {0, self._output}
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._init, signals.SIGHUP)

    def _suspend(self) -> None:
        """The payload stopped itself: stop with the caller's whole job, and resume together."""
        with self.suspended():
            os.killpg(0, signals.SIGSTOP)
        os.kill(self._init, signals.SIGCONT)

    def _take_terminal(self) -> None:
        """Make the terminal raw if it is ours, and give the pty its size."""
        self._is_in_front = _is_in_front()
        if self._is_in_front and os.isatty(0):
            if self._saved is None:
                self._saved = termios.tcgetattr(0)
            tty.setraw(0)
            if self._restorer is None:
                self._restorer = _start_restorer(self._saved)
        self._copy_window_size()

    def _restore(self) -> None:
        if self._saved is not None:
            with contextlib.suppress(termios.error):  # The terminal may be gone.
                termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
            self._saved = None

    def _dismiss_restorer(self) -> None:
        if self._restorer is not None:
            pid, pipe = self._restorer
            os.write(pipe, b"r")
            os.close(pipe)
            os.waitpid(pid, 0)
            self._restorer = None

    def _copy_window_size(self) -> None:
        """Give the pty the size of the caller's terminal; the kernel tells the foreground group inside."""
        size = array.array("H", (24, 80, 0, 0))
        with contextlib.suppress(OSError):
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


def _is_in_front() -> bool:
    """Whether this process may use its terminal; one that does not belong to its session is nobody else's."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return True


def _start_restorer(saved: list[Any]) -> tuple[int, int]:
    """Fork a process that puts the terminal back if this one ends without having said that it did so.

    It is in a session of its own, where neither the terminal's signals nor a kill of the whole group reach.
    If somebody else has set the terminal meanwhile, as a shell does for its prompt, that is left as it is.
    The command had no chance to leave its full screen either, so that is done for it.
    """
    raw = termios.tcgetattr(0)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            terminal = os.dup(0)
            os.closerange(0, min(reading, terminal))
            kept_open = sorted((reading, terminal))
            os.closerange(kept_open[0] + 1, kept_open[1])
            os.closerange(kept_open[1] + 1, os.sysconf("SC_OPEN_MAX"))
            if os.read(reading, 1) == b"":
                if termios.tcgetattr(terminal) == raw:
                    termios.tcsetattr(terminal, termios.TCSANOW, saved)
                os.write(terminal, _PLAIN_SCREEN)
        finally:
            os._exit(0)
    os.close(reading)
    return pid, writing


def _unblocked(descriptor: int) -> int:
    """The same terminal or pipe, opened anew so that writing does not wait; else the descriptor itself.

    The open file of the caller's descriptor is shared with the caller's shell and must stay as it is.
    """
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        return descriptor
    try:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(f"/proc/self/fd/{descriptor}", flags)
    except OSError:
        return descriptor


def _read(descriptor: int) -> bytes | None:
    """One block, None if there is none now; a pty whose other side has gone answers EIO, which is its end."""
    try:
        return os.read(descriptor, _BLOCK_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _write_some(descriptor: int, content: bytearray) -> bool:
    """Write what can be written now and take it away from `content`; False if the other side is gone."""
    try:
        del content[: os.write(descriptor, content)]
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


def _write_all(descriptor: int, content: bytes) -> None:
    """Write everything."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]

"""What a command writes, counted on its way out and cut at a limit: it finds a closed pipe then.

Only where a limit is set: without one the command holds the caller's own descriptors.
"""

from __future__ import annotations

import os
import threading

from sandbox import signals

_BLOCK_BYTES = 65536
_LOOK_SECONDS = 0.1
"""How often somebody who waits for a slow reader looks for a Ctrl-C."""
_ENDING = (signals.SIGINT, signals.SIGTERM, *signals.TO_GROUP)


class Output:
    """Pipes in the place of 1 and 2, and a thread for each that carries what comes."""

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes
        self._lock = threading.Lock()
        self.is_cut = False
        """Whether more came than is allowed."""
        # One pipe where both lead to the same place, or lines would change their order.
        first = os.pipe()
        second = (os.dup(first[0]), os.dup(first[1])) if _is_same(1, 2) else os.pipe()
        self._shared = _is_same(1, 2)
        self.inside: tuple[int, ...] = (first[1], second[1])
        """The write ends, for 1 and 2 of pid 1."""
        self.outside = (first[0], second[0])
        """The read ends, which pid 1 must not keep: a closed pipe must be seen to be closed."""
        self._threads: list[threading.Thread] = []

    def begin(self) -> None:
        """Start to carry. Called when nothing is forked any more."""
        self.forget_inside()
        for number, source in enumerate(self.outside, 1):
            if number == 2 and self._shared:
                os.close(source)
                continue
            thread = threading.Thread(target=self._carry, args=(source, number), daemon=True)
            thread.start()
            self._threads.append(thread)

    def forget_inside(self) -> None:
        """Close the write ends here."""
        for descriptor in self.inside:
            os.close(descriptor)
        self.inside = ()

    def close(self) -> None:
        """Wait until all was delivered, or until a signal says that nobody wants it any more."""
        if self.inside:  # Pid 1 was never cloned.
            self.forget_inside()
            for descriptor in self.outside:
                os.close(descriptor)
        for thread in self._threads:
            while thread.is_alive():
                thread.join(_LOOK_SECONDS)
                if thread.is_alive() and signals.wait(0.0) in _ENDING:
                    return

    def _carry(self, source: int, sink: int) -> None:
        try:
            while block := os.read(source, _BLOCK_BYTES):
                with self._lock:
                    allowed = block[: self._left]
                    self._left -= len(allowed)
                    self.is_cut = self.is_cut or len(allowed) < len(block)
                _write_all(sink, allowed)
                if len(allowed) < len(block):
                    return
        except OSError:
            return  # The caller's reader has gone: the command is to find that out, too.
        finally:
            os.close(source)


def _is_same(first: int, second: int) -> bool:
    """Whether two descriptors lead to the same file, pipe or terminal."""
    try:
        return os.path.sameopenfile(first, second)
    except OSError:
        return False


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]

"""Memory of a command that reads much at once: one heap for all threads, and few looks for rubbish."""

from __future__ import annotations

import contextlib
import ctypes
import gc

_M_ARENA_MAX = -8
_NEW_BEFORE_A_LOOK = 100_000
"""Objects; Python's own 700 are for programs that make cycles and run for days."""


def collect_seldom() -> None:
    """Look for unreachable cycles seldom, where hundreds of thousands of objects are made to stay.

    A look goes through all that was made since the last one, and finds next to nothing: it took a fifth of
    the time of a lock.
    """
    gc.set_threshold(_NEW_BEFORE_A_LOOK, 20, 100)


def share_one_heap() -> None:
    """Have threads allocate from one heap in place of one each, where the C library is glibc.

    A lock reads hundreds of pages in a score of threads, and each thread's heap keeps the room of its largest
    page: a third of the memory in use. The interpreter's own lock leaves them little to contend for. To be
    called before the first thread starts.

    Source: mallopt(3), `M_ARENA_MAX`.
    """
    with contextlib.suppress(
        OSError, AttributeError
    ):  # Other C libraries have no such function, or no heaps.
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)

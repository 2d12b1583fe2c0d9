"""One heap for all threads of a command that reads much at once."""

from __future__ import annotations

import contextlib
import ctypes

_M_ARENA_MAX = -8


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

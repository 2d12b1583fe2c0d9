"""Put a staged folder in the place of another, at once where the kernel can.

Source: renameat2(2).
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from pypm.files import remove_tree, storage_errors

_AT_FDCWD = -100  # fcntl.h
_RENAME_EXCHANGE = 1 << 1  # linux/fs.h


def swap_in(staging: Path, location: Path) -> None:
    """Make `staging` the folder at `location`. What was there lies at `staging` afterwards, or is gone.

    With `RENAME_EXCHANGE` there is no moment without an environment. Elsewhere the old one is renamed away
    first: a kill between the two renames leaves none, and both folders are removed by the next write.

    Raises:
        StorageError: the disk refused; the old environment is in its place.
    """
    with storage_errors(f"replace `{location}`"):
        if not os.path.lexists(location):
            staging.rename(location)
            return
        if _exchange(staging, location):
            return
        old = location.with_name(f"{location.name}.{os.urandom(4).hex()}")
        location.rename(old)
        try:
            staging.rename(location)
        except BaseException:
            with contextlib.suppress(OSError):
                old.rename(location)
            raise
        remove_tree(old)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step; False where the kernel, the C library or the file system cannot."""
    if sys.platform != "linux":
        return False
    import ctypes  # The first write of an environment needs no exchange.

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    arguments = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE))
    return bool(renameat2(*arguments) == 0)

"""Where on the disk a file system puts the folders of an environment.

Source: chattr(1), `T`; linux/fs.h; linux/fs/ext4/ialloc.c, `find_group_orlov` and `recently_deleted`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # linux/fs.h: FS_IOC_GETFLAGS and FS_IOC_SETFLAGS, 64 bits
_TOP_FOLDER = 0x00020000  # linux/fs.h: FS_TOPDIR_FL
_INT_BYTES = 4  # What the kernel reads and writes, although the calls are declared with a `long`.


def spread(folder: Path) -> None:
    """Tell the file system that each folder made in `folder` begins a hierarchy of its own.

    ext4 makes a folder near its parent, and each time passes over every place that a removed one had in the
    last minutes, one by one: three thousand folders, where an environment of as many was just removed, cost
    seconds. With this flag each environment goes elsewhere on the disk. It is a matter of time only, so where
    it is refused or unknown nothing is lost.
    """
    if sys.platform != "linux":
        return
    import fcntl

    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            flags = int.from_bytes(fcntl.ioctl(descriptor, _GET_FLAGS, bytes(_INT_BYTES)), sys.byteorder)
            if not flags & _TOP_FOLDER:
                told = (flags | _TOP_FOLDER).to_bytes(_INT_BYTES, sys.byteorder)
                fcntl.ioctl(descriptor, _SET_FLAGS, told)
        finally:
            os.close(descriptor)

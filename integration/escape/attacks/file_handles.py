"""Open files by handle instead of by path, the escape called shocker. Source: open_by_handle_at(2), CVE-2014-3519."""

import ctypes
import os

from attempt import PROJECT, call, denied, works


def inside():
    handle = ctypes.create_string_buffer((128).to_bytes(4, "little") + bytes(140))
    mount = ctypes.c_int()
    denied(
        "name_to_handle_at",
        lambda: call("name_to_handle_at", -100, bytes(PROJECT), handle, ctypes.byref(mount), 0),
    )
    root = ctypes.create_string_buffer(
        (8).to_bytes(4, "little") + (1).to_bytes(4, "little") + (2).to_bytes(8, "little") + bytes(8)
    )
    denied(
        "inode 2, the file system's root",
        lambda: call("open_by_handle_at", os.open(PROJECT, os.O_RDONLY), root, os.O_RDONLY),
    )
    works("opening by path", lambda: os.open(PROJECT, os.O_RDONLY) > 0)

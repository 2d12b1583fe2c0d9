"""Change the mount tree: mount over, take off a mask, clone a tree without its flags, pivot.

Source: mount(2), open_tree(2), move_mount(2), fsopen(2), mount_setattr(2); CVE-2020-29372, CVE-2022-0185.
"""

import ctypes
import os

from attempt import PROJECT, call, denied, works

RDONLY = 1


def inside():
    attributes = (ctypes.c_uint64 * 4)(0, RDONLY, 0, 0)
    denied("mount of a tmpfs", lambda: call("mount", b"x", b"/tmp", b"tmpfs", 0, 0))
    denied("a bind over a mask", lambda: call("mount", b"/tmp", b"/proc/bus", b"", 4096, 0))
    denied("remount writable", lambda: call("mount", b"", bytes(PROJECT / ".git"), b"", 32 | 4096, 0))
    denied("propagation", lambda: call("mount", b"", b"/", b"", 1 << 20, 0))
    for path in (
        "/proc/keys",
        "/proc/bus",
        "/proc/sys",
        str(PROJECT / "pyproject.toml"),
        str(PROJECT / ".git"),
        "/",
    ):
        denied(f"umount {os.path.basename(path) or '/'}", lambda path=path: call("umount2", path.encode(), 2))
    denied("open_tree", lambda: call("open_tree", -100, b"/", 1))
    denied("fsopen", lambda: call("fsopen", b"tmpfs", 0))
    denied("fspick", lambda: call("fspick", -100, b"/", 0))
    denied("move_mount", lambda: call("move_mount", -100, b"/tmp", -100, b"/usr", 0))
    denied("mount_setattr", lambda: call("mount_setattr", -100, b"/", 0x8000, attributes, 32))
    denied("pivot_root", lambda: call("pivot_root", b".", b"."))
    denied("chroot", lambda: call("chroot", b"/tmp"))
    denied("fusermount", lambda: os.open("/dev/fuse", os.O_RDWR))
    works("looking at the mounts", lambda: open("/proc/self/mountinfo").read(1))

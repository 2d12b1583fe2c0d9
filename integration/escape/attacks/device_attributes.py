"""Change owner, mode and times of device nodes that are the host's own: uid 0 owns them.

A `/dev/null` that nobody may write stops the machine. Landlock does not cover chmod.
Source: chmod(2), utimensat(2); a mount must be read-only for that to fail, writing to the device goes on.
"""

import os
import stat

from attempt import denied, works

_NODES = ("null", "zero", "full", "random", "urandom", "tty")
_BEFORE = {}


def prepare(arena):
    for name in _NODES:
        status = os.stat(f"/dev/{name}")
        _BEFORE[name] = (stat.S_IMODE(status.st_mode), status.st_mtime_ns)


def afterwards(arena):
    for name, (mode, _) in _BEFORE.items():
        changed = stat.S_IMODE(os.stat(f"/dev/{name}").st_mode) != mode
        if changed:
            os.chmod(f"/dev/{name}", mode)
        yield f"the mode of the host's /dev/{name}", changed


def inside():
    for name in _NODES:
        path = f"/dev/{name}"
        # The mode that it has: an escape must not harm the machine that it is tried on.
        denied(f"chmod {path}", lambda path=path: os.chmod(path, stat.S_IMODE(os.stat(path).st_mode)))
        denied(f"times of {path}", lambda path=path: os.utime(path))
    works("writing to /dev/null", lambda: os.write(os.open("/dev/null", os.O_WRONLY), b"x"))
    works("reading /dev/urandom", lambda: os.read(os.open("/dev/urandom", os.O_RDONLY), 4))

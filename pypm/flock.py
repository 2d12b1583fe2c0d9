"""Advisory locks of open files, and the names of those who hold them.

They end with the process that holds them, however that ends. What the system refuses is an `OSError` here;
`pypm.files` makes the locks that the rest of pypm uses of them.

Source: flock(2), lockf(3), proc_locks(5).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path

_KINDS = ("FLOCK", "POSIX")
_RESERVED_BYTES = 1
"""The first byte is what Windows locks, and a locked byte cannot be read there; the holder's name follows."""


def sign(descriptor: int) -> None:
    """Write into a lock file who holds it."""
    program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    command = " ".join([program, *sys.argv[1:2]])
    line = f"process {os.getpid()} ({command})\n".encode("utf-8", "backslashreplace")
    os.ftruncate(descriptor, _RESERVED_BYTES)
    os.lseek(descriptor, _RESERVED_BYTES, os.SEEK_SET)
    os.write(descriptor, line)


def clear_signature(descriptor: int) -> None:
    """Take the holder's name out of the file again."""
    os.ftruncate(descriptor, _RESERVED_BYTES)


def holder_of(descriptor: int) -> str:
    """Name who holds the lock now: the kernel's word where it gives one, else who signed last.

    Of several shared holders the last to sign may be gone while another still stands.
    """
    process = _holding_process(descriptor)
    if process is not None:
        return process
    line = ""
    with contextlib.suppress(OSError):  # A folder that is locked itself has nothing to read.
        os.lseek(descriptor, _RESERVED_BYTES, os.SEEK_SET)
        line = os.read(descriptor, 512).decode("utf-8", "replace").strip()
    return line or "another process"


def _holding_process(descriptor: int) -> str | None:
    """Find a holder in `/proc/locks`; None where there is no such list, or the holder is not visible.

    Source: proc_locks(5): `1: FLOCK|POSIX ADVISORY WRITE <pid> <device>:<inode> <start> <end>`.
    """
    inode, own = str(os.fstat(descriptor).st_ino), str(os.getpid())
    with contextlib.suppress(OSError, ValueError, LookupError):
        for line in Path("/proc/locks").read_text("ascii").splitlines():
            words = line.split()
            kind, process, place = words[1], words[4], words[5]
            if kind in _KINDS and place.rpartition(":")[2] == inode and process != own:
                return f"process {process} ({_command_of(process)})"
    return None


def _command_of(process: str) -> str:
    """Return a process's program and the word after it, without an interpreter before them.

    No more: the rest of a command line may hold what is nobody's business.
    """
    words = [
        Path(word).name for word in Path(f"/proc/{process}/cmdline").read_text("utf-8", "replace").split("\0")
    ]
    begin = words.index("pypm") if "pypm" in words[:4] else 0
    return " ".join(words[begin : begin + 2]).strip()


if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int, *, shared: bool) -> bool:
        # The C runtime's byte locks are exclusive only: shared holders wait for each other there.
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, _RESERVED_BYTES)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EDEADLK}:
                return False
            raise
        return True

    def unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, _RESERVED_BYTES)

    def try_lock_whole(descriptor: int) -> bool:
        # Nothing is ever mounted there, so nobody holds a single byte.
        return try_lock(descriptor, shared=False)

else:
    import fcntl

    def try_lock(descriptor: int, *, shared: bool) -> bool:
        """Take the lock if nobody stands in the way; tell whether it is held now."""
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Give the lock back, also where a child shares the open file."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def try_lock_whole(descriptor: int) -> bool:
        """Take the lock of all bytes of a file, which others hold byte by byte."""
        try:
            os.lockf(descriptor, os.F_TLOCK, 0)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EAGAIN}:
                return False
            raise
        return True

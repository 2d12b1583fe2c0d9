"""Fill every writable tmpfs and its inodes: they are the host's memory.

Source: tmpfs(5), size= and nr_inodes=.
"""

import os
import subprocess
from pathlib import Path

from attempt import denied, works

WAYS = ("run", "bwrap")
ALONE = True


def _fill(folder):
    path = Path(folder) / "fill"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, 3 << 30)
    finally:
        os.close(descriptor)
        path.unlink()


def _many(folder):
    for number in range(300_000):
        os.close(os.open(f"{folder}/{number}", os.O_CREAT | os.O_WRONLY, 0o600))


def inside():
    for folder in ("/tmp", "/dev/shm", str(Path.home())):
        denied(f"3 GiB in {folder}", lambda folder=folder: _fill(folder))
    denied("files without number", lambda: _many("/dev/shm"))
    subprocess.run("rm -rf /dev/shm/*", shell=True, check=False)
    denied("a file in the root", lambda: Path("/planted").write_text("x"))
    works("a file in /tmp", lambda: Path("/tmp/x").write_text("x"))

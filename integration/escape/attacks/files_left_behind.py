"""Leave set-user-id programs, device nodes and file capabilities in the project, for somebody outside to start.

With the host's uid 0 such a file is root's for everybody. Source: chmod(2), mknod(2), capabilities(7).
"""

import os
import stat
from pathlib import Path

from attempt import PLACE, call, compiled, denied, run, works

_FOLDER = "left"
_OLD = r"""
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int n, char **v) {
  int r = -1;
  switch (v[1][0]) {
    case 'o': r = open(v[2], O_CREAT | O_WRONLY, 06755); break;
    case 'c': r = creat(v[2], 06755); break;
    case 'm': r = mknod(v[2], S_IFREG | 06755, 0); break;
    case 't': r = open(v[3], 020200000 | O_WRONLY, 06755); break;
  }
  return r < 0;
}
"""


def afterwards(arena):
    folder = arena.project / "src" / _FOLDER
    for path in folder.rglob("*") if folder.exists() else ():
        mode = path.lstat().st_mode
        bad = (
            bool(mode & 0o4000)
            or stat.S_ISCHR(mode)
            or stat.S_ISBLK(mode)
            or (bool(mode & 0o2000) and path.is_file())
        )
        yield f"{path.name} on the host", bad


def inside():
    folder = PLACE / _FOLDER
    folder.mkdir(exist_ok=True)
    program = folder / "program"
    program.write_bytes(b"x")
    opened = os.open(program, os.O_RDONLY)
    denied("chmod u+s", lambda: os.chmod(program, 0o4755))
    denied("chmod g+s", lambda: os.chmod(program, 0o2755))
    denied("fchmod u+s", lambda: os.fchmod(opened, 0o4755))
    denied("fchmodat u+s", lambda: os.chmod("program", 0o4755, dir_fd=os.open(folder, os.O_RDONLY)))
    denied("fchmodat2 u+s", lambda: call("fchmodat2", -100, bytes(program), 0o4755, 0))
    denied(
        "fchmodat2 u+s with high bits", lambda: call("fchmodat2", -100, bytes(program), 0o4755 | 1 << 32, 0)
    )
    old = compiled(_OLD)
    for letter, name in (("o", "open"), ("c", "creat"), ("m", "mknod"), ("t", "O_TMPFILE")):
        denied(
            f"{name} with the bit",
            lambda letter=letter: run(old, letter, str(folder / f"by-{letter}"), str(folder)),
        )
    denied("a character device", lambda: os.mknod(folder / "device", stat.S_IFCHR | 0o666, os.makedev(1, 1)))
    denied("a block device", lambda: os.mknod(folder / "disk", stat.S_IFBLK | 0o666, os.makedev(254, 0)))
    denied(
        "file capabilities",
        lambda: os.setxattr(
            program, "security.capability", bytes.fromhex("0100000200000020000000000000000000000000")
        ),
    )
    denied("trusted attributes", lambda: os.setxattr(program, "trusted.overlay.opaque", b"y"))
    denied("giving a file away", lambda: os.chown(program, 0, 0))
    works("chmod +x", lambda: os.chmod(program, 0o755))
    works("a sticky folder", lambda: os.chmod(folder, 0o1777))

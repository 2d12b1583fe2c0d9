"""Change modes, times, attributes and names of the store's files through the project's own `.venv`.

An environment on disk is hard links to the store: what is changed of one name is changed of the file, in every
environment of the machine, and `pypm verify` would find all of them damaged.
Source: chmod(2), utimensat(2), xattr(7), link(2), ioctl_fs(2) FS_IOC_SETFLAGS.
"""

import fcntl
import os
import struct

from attempt import PROJECT, call, denied, hidden, works

WAYS = ("run", "shell")
_FOLDER = "linked"
_SETFLAGS, _SETPROJECT = 0x40086602, 0x401C5820
_BEFORE = {}


def outside(arena, way):
    from integration.escape.victim import linked_project

    project = linked_project(arena, _FOLDER)
    store = arena.place / "cache" / "store-v1"
    before = _state(store)
    arena.must([*arena.pypm, "verify"], cwd=project)
    command = [*arena.pypm, way.name]
    inner = arena.inner("store_metadata")
    folder, arena.folder = arena.folder, _FOLDER
    try:
        if way.name == "shell":
            printed = arena.type(command, " ".join(inner) + "; exit\n", prompt=b" sandbox:")
        else:
            printed = arena.host([*command, *inner], cwd=project).stdout
        told = arena.host([*arena.pypm, "verify"], cwd=project)
    finally:
        arena.folder = folder
    changed = [path for path, state in _state(store).items() if before.get(path, state) != state]
    printed += b"@%s|modes, times and attributes in the store|%s\n" % (
        b"escaped" if changed else b"denied",
        b" ".join(map(os.fsencode, changed))[:80],
    )
    said = b" ".join(told.stdout.split())[-120:].replace(b"|", b" ")
    return printed + b"@%s|`pypm verify` afterwards|%s\n" % (b"broken" if told.returncode else b"works", said)


def _state(store):
    """What may not change of each file and folder, besides its content, which is `pypm verify`'s."""
    state = {}
    for path in sorted(store.rglob("*")):
        status = path.lstat()
        attributes = os.listxattr(path, follow_symlinks=False)
        state[path] = (status.st_mode, status.st_uid, status.st_mtime_ns, status.st_size, attributes)
    return state


def _writable(path):
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def inside():
    venv = PROJECT / ".venv"
    found = [*venv.rglob("linked.py")]
    works("finding it", lambda: bool(found))
    works("importing it", lambda: __import__("linked").X == 1)
    file = found[0]
    opened = os.open(file, os.O_RDONLY)
    folder = os.open(file.parent, os.O_RDONLY)
    name, pid = file.name, os.getpid()
    ways = {
        "its path": lambda act: act(file),
        "its descriptor": lambda act: act(opened),
        "another way to it": lambda act: act(f"/proc/{pid}/cwd/{file.relative_to(PROJECT)}"),
        "its open file": lambda act: act(f"/proc/self/fd/{opened}"),
    }
    acts = {
        "chmod": lambda path: os.chmod(path, 0o777),
        "times": lambda path: os.utime(path, (1, 1)),
        "an attribute": lambda path: os.setxattr(path, "user.planted", b"x"),
        "an access list": lambda path: os.setxattr(
            path, "system.posix_acl_access", struct.pack("<I5HI", 2, 1, 7, 0, 0, 0, 0)
        ),
        "an owner": lambda path: os.chown(path, os.getuid(), os.getgid()),
        "truncation": lambda path: os.truncate(path, 0),
    }
    for by, reach in ways.items():
        for what, act in acts.items():
            denied(f"{what} by {by}", lambda reach=reach, act=act: reach(act))
    denied("chmod below its folder", lambda: os.chmod(name, 0o777, dir_fd=folder))
    denied("fchmodat2 with its descriptor alone", lambda: call("fchmodat2", opened, b"", 0o777, 0x1000))
    denied("times below its folder", lambda: os.utime(name, (1, 1), dir_fd=folder))
    denied("chmod of its folder", lambda: os.fchmod(folder, 0o777))
    denied("making it immutable", lambda: fcntl.ioctl(opened, _SETFLAGS, struct.pack("l", 0x10)))
    denied(
        "another project quota", lambda: fcntl.ioctl(opened, _SETPROJECT, struct.pack("5I8x", 0, 0, 0, 7, 0))
    )
    denied("a second name in the project", lambda: os.link(file, PROJECT / "src" / "second"))
    denied(
        "a second name by its descriptor",
        lambda: os.link(f"/proc/self/fd/{opened}", PROJECT / "src" / "third", follow_symlinks=True),
    )
    denied("moving it out", lambda: os.rename(file, PROJECT / "src" / "moved"))
    denied("moving its folder", lambda: os.rename(file.parent, PROJECT / "src" / "moved"))
    denied("removing it", lambda: os.unlink(file))
    denied("a lease on it", lambda: fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_WRLCK))
    hidden("files of it that can be written", lambda: [path for path in venv.rglob("*") if _writable(path)])
    own = PROJECT / "src" / "own"
    own.write_text("x")
    works("chmod of a file of one's own", lambda: os.chmod(own, 0o600))
    works("times of a file of one's own", lambda: os.utime(own, (1, 1)))

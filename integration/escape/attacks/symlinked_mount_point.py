"""Lay a symbolic link where the next sandbox makes a mount point, so that set-up writes outside.

Source: CVE-2026-87766 (bubblewrap before 0.12), CVE-2019-16884 and CVE-2021-30465 (runc).
"""

import os
import time

from attempt import works

WAYS = ("run",)
_LINKS = (".vscode", ".idea", ".envrc", ".env", ".github", ".python-version", "pypm.lock.sig")


def outside(arena, way):
    target = arena.place / "outside"
    before = sorted(os.listdir(target))
    shown = b""
    for name in _LINKS:
        link = arena.project / name
        # Stand-ins of a sandbox that was killed just before go away when its init is dead.
        deadline = time.monotonic() + 5
        while os.path.lexists(link) and time.monotonic() < deadline:
            time.sleep(0.01)
        for destination in (target / "made-by-set-up", target):
            link.symlink_to(destination)
            done = arena.host(
                [
                    *arena.pypm,
                    "run",
                    "sh",
                    "-c",
                    f"cat {name}/secret; echo x > {name}/planted; echo x > {name}",
                ],
                cwd=arena.project,
            )
            link.unlink(missing_ok=True)
            bad = sorted(os.listdir(target)) != before or arena.token.encode() in done.stdout
            shown += b"@%s|%s -> %s|%s\n" % (
                b"escaped" if bad else b"denied",
                name.encode(),
                destination.name.encode(),
                done.stdout[-80:].replace(b"\n", b" "),
            )
    return shown + way.enter(["symlinked_mount_point"])


def inside():
    works("a link of one's own", lambda: os.symlink("/usr", "/tmp/link") is None)

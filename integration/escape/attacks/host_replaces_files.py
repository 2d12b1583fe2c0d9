"""Wait until somebody outside replaces a protected file, and write the new one.

Editors, `git checkout`, `sed -i` and pypm itself write beside and rename over. The kernel takes every mount
off a name that is renamed over or removed, in all namespaces: the protection is gone while the run lasts.
Source: rename(2), kernel `fs/namespace.c` __detach_mounts.
"""

import os
import shutil
import time

from attempt import PROJECT, works

WAYS = ("run", "hook")
_NAMES = ("pyproject.toml", ".envrc", ".venv/bin/planted")


def outside(arena, way):
    (arena.project / ".envrc").write_text("export A=1\n")
    shown = b""
    try:
        process = arena.start([*arena.pypm, "run", *arena.inner("host_replaces_files")], cwd=arena.project)
        while b"@works" not in shown:
            shown += os.read(process.stdout.fileno(), 4096) or b"@works"
        for name in ("pyproject.toml", ".envrc"):
            arena.host(["sed", "-i", "s/x/x/", name], cwd=arena.project)
        # What a user does who wants a fresh environment; a sync that changes something swaps it as well.
        shutil.rmtree(arena.project / ".venv")
        arena.host([*arena.pypm, "sync"], cwd=arena.project)
        shown += arena.finish(process).stdout
        for name in _NAMES:
            path = arena.project / name
            bad = path.exists() and b"OWNED" in path.read_bytes()
            shown += b"@%s|%s after it was replaced|seen from outside\n" % (
                b"escaped" if bad else b"denied",
                name.encode(),
            )
    finally:
        (arena.project / ".envrc").unlink()
        project = arena.project / "pyproject.toml"
        project.write_text(project.read_text().replace("\n# OWNED\n", ""))
        (arena.project / ".venv" / "bin" / "planted").unlink(missing_ok=True)
    return shown


def inside():
    works("starting", lambda: True)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        for name in _NAMES:
            try:
                path = PROJECT / name
                if not path.exists() or "OWNED" not in path.read_text():
                    with path.open("a") as stream:
                        stream.write("\n# OWNED\n")
            except OSError:
                continue
        time.sleep(0.002)

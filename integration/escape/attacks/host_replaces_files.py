"""Wait until somebody outside replaces a protected file, and write the new one.

Editors, `git checkout`, `sed -i` and pypm itself write beside and rename over. The kernel takes every mount
off a name that is renamed over or removed, in all namespaces: the protection would be gone while the run lasts.
A patient attacker writes a second after the change. An eager one does nothing else but try, and may come
first by the time that a process needs to wake up; then the run must end and say so.
Source: rename(2), kernel `fs/namespace.c` __detach_mounts.
"""

import os
import shutil
import time

from attempt import FACTS, PROJECT, works

WAYS = ("run",)
_NAMES = ("pyproject.toml", ".envrc")


def outside(arena, way):
    envrc, project = arena.project / ".envrc", arena.project / "pyproject.toml"
    content = project.read_bytes()
    command = way.command(["host_replaces_files"])
    shown = b""
    try:
        for kind in ("patient", "eager"):
            envrc.write_text("export A=1\n")
            arena.facts(kind=kind)
            shown += _one(arena, command, kind)
            project.write_bytes(content)
    finally:
        envrc.unlink()
    return shown + b"@done||\n"


def _one(arena, command, kind):
    process = arena.start(command, cwd=arena.project)
    shown = b""
    while b"@works" not in shown:
        shown += os.read(process.stdout.fileno(), 4096) or b"@works"
    time.sleep(0.5)
    for name in _NAMES:
        arena.host(["sed", "-i", "s/x/x/", name], cwd=arena.project)
    time.sleep(2.5 * (kind == "patient"))
    if kind == "patient":
        shown += _verdict("works" if process.poll() is None else "broken", "the run goes on after an editor")
    # What a user does who wants a fresh environment; a sync that changes something swaps it as well.
    shutil.rmtree(arena.project / ".venv")
    arena.host([*arena.pypm, "sync"], cwd=arena.project)
    told = arena.finish(process).stdout
    ended = b"replaced from outside" in told
    shown += _verdict("denied" if ended else "escaped", f"going on with another .venv ({kind})")
    planted = arena.project / ".venv" / "bin" / "planted"
    shown += _verdict("escaped" if planted.exists() else "denied", f"a program in .venv ({kind})")
    planted.unlink(missing_ok=True)
    for name in _NAMES if kind == "patient" else ():
        bad = b"OWNED" in (arena.project / name).read_bytes()
        shown += _verdict("escaped" if bad else "denied", f"{name} after it was replaced")
    return shown + told


def _verdict(verdict, name):
    return f"@{verdict}|{name}|seen from outside\n".encode()


def inside():
    eager = FACTS["kind"] == "eager"
    before = {name: (PROJECT / name).stat().st_ino for name in _NAMES}
    works("starting", lambda: True)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        changed = [name for name in _NAMES if (PROJECT / name).stat().st_ino != before[name]]
        time.sleep(0 if eager else 1)
        for name in changed if not eager else (*_NAMES, ".venv/bin/planted"):
            try:
                path = PROJECT / name
                if not path.exists() or "OWNED" not in path.read_text():
                    with path.open("a") as stream:
                        stream.write("\n# OWNED\n")
            except OSError:
                continue

"""Plant a git repository below the project, whose configuration starts a program, and wait for git to come by.

Nobody's rule forbids a folder `.git` deeper down; git enters it when it was added as a submodule, editors that
look for repositories enter it at once.
Source: git-config(1) core.fsmonitor, gitsubmodules(7); CVE-2022-24765.
"""

import os
import subprocess
from pathlib import Path

from attempt import PLACE, works

WAYS = ("run", "shell")


def outside(arena, way):
    shown = way.enter(["nested_repository"])
    marker = arena.place / "git-owned-below"
    nested = arena.project / "src" / "vendored"
    for name, folder, command in (
        ("status in the project", arena.project, ["git", "status"]),
        ("diff in the project", arena.project, ["git", "diff"]),
        ("clean in the project", arena.project, ["git", "clean", "-n"]),
        ("pypm in the project", arena.project, [*arena.pypm, "sync"]),
        ("status in the planted folder", nested, ["git", "status"]),
    ):
        arena.host(command, cwd=folder)
        verdict = b"escaped" if marker.exists() else b"denied"
        marker.unlink(missing_ok=True)
        shown += b"@%s|%s|a command of the planted repository\n" % (verdict, name.encode())
    subprocess.run(["rm", "-rf", str(nested)], check=False)
    return shown


def inside():
    nested = PLACE / "vendored"
    marker = Path(__file__).resolve().parents[2] / "git-owned-below"
    for name in ("objects", "refs/heads"):
        os.makedirs(nested / ".git" / name, exist_ok=True)
    (nested / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (nested / ".git" / "config").write_text(
        f'[core]\n\trepositoryformatversion = 0\n\tfsmonitor = "touch {marker}; false"\n'
    )
    works("a repository of one's own", lambda: (nested / ".git" / "config").read_text())

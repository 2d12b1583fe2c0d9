"""Plant a git repository below the project, whose configuration starts a program, and wait for git to come by.

Nobody's rule forbids a folder `.git` deeper down; git enters it by itself when it was added as a submodule.
What becomes of those who go into it is a limit, `entered_repository`.
Source: git-config(1) core.fsmonitor, gitsubmodules(7); CVE-2022-24765.
"""

import subprocess

from attempt import works
from repository import plant

WAYS = ("run", "shell")


def outside(arena, way):
    shown = way.enter(["nested_repository"])
    marker = arena.place / "git-owned-below"
    for name, command in (
        ("status in the project", ["git", "status"]),
        ("diff in the project", ["git", "diff"]),
        ("clean in the project", ["git", "clean", "-n"]),
        ("pypm in the project", [*arena.pypm, "sync"]),
    ):
        arena.host(command, cwd=arena.project)
        verdict = b"escaped" if marker.exists() else b"denied"
        marker.unlink(missing_ok=True)
        shown += b"@%s|%s|a command of the planted repository\n" % (verdict, name.encode())
    subprocess.run(["rm", "-rf", str(arena.project / "src" / "vendored")], check=False)
    return shown


def inside():
    works("a repository of one's own", lambda: plant("vendored", "git-owned-below"))

"""Plant a git repository below the project, whose configuration starts a program, and wait for who enters it.

Editors that look for repositories enter it at once, git where it was added as a submodule. Commands in the
project itself do not run what it says: that is the attack `nested_repository`.
Source: git-config(1) core.fsmonitor, gitsubmodules(7); CVE-2022-24765.
"""

import subprocess

from attempt import works
from repository import plant

WAYS = ("run", "shell")
LIMIT = (
    "a folder `.git` deeper down cannot be forbidden by a mount, which needs a name that is known; "
    "git runs what it says for whoever enters it"
)


def outside(arena, way):
    shown = way.enter(["entered_repository"])
    marker = arena.place / "git-entered"
    nested = arena.project / "src" / "entered"
    arena.host(["git", "status"], cwd=nested)
    verdict = b"open" if marker.exists() else b"denied"
    marker.unlink(missing_ok=True)
    subprocess.run(["rm", "-rf", str(nested)], check=False)
    return shown + b"@%s|status in the planted folder|a command of the planted repository\n" % verdict


def inside():
    works("a repository of one's own", lambda: plant("entered", "git-entered"))

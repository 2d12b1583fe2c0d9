"""Make the project's folder itself a git repository whose configuration starts a program.

In a project without `.git` the files `HEAD`, `config`, `objects/` and `refs/` are enough.
Source: git-config(1) safe.bareRepository and core.fsmonitor; the "bare repository" attacks of 2022.
"""

import shutil
import subprocess

from attempt import works

WAYS = ("run",)
_PLANT = "mkdir -p objects refs; echo 'ref: refs/heads/main' > HEAD; printf '[core]\\n\\trepositoryformatversion = 0\\n\\tbare = false\\n\\tworktree = .\\n\\tfsmonitor = \"touch ../git-owned; false\"\\n' > config"


def outside(arena, way):
    project = arena.place / "no-git"
    shutil.copytree(arena.project, project, ignore=shutil.ignore_patterns(".git", ".venv", "control"))
    if arena.user:
        subprocess.run(["chown", "-R", f"{arena.user}:", str(project)], check=True)
    arena.host([*arena.pypm, "run", "sh", "-c", _PLANT], cwd=project)
    arena.host(["git", "status"], cwd=project)
    bad = (arena.place / "git-owned").exists()
    shutil.rmtree(project)
    (arena.place / "git-owned").unlink(missing_ok=True)
    return way.enter(["bare_repository"]) + b"@%s|a command of the planted repository|ran outside\n" % (
        b"escaped" if bad else b"denied"
    )


def inside():
    works(
        "git inside",
        lambda: subprocess.run(["git", "status"], check=True, capture_output=True).returncode == 0,
    )

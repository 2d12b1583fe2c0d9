"""Write what decides outside: `pyproject.toml`, the lock, git's hooks and configuration, what shells and editors start.

Also where it does not exist yet, by every call that makes a name lead elsewhere.
Source: CVE-2022-24765 and core.fsmonitor, direnv's and VS Code's documentation; bubblewrap's CVE-2026-87766 for links.
"""

import ctypes
import os
import subprocess
from pathlib import Path

from attempt import PLACE, PROJECT, denied, hidden, works

WAYS = ("run", "shell", "hook", "bwrap")
# It looks at all of the project afterwards, and others leave something there.
ALONE = True
_FILES = (
    "pyproject.toml",
    "pypm.lock",
    "pypm.lock.sig",
    ".git/config",
    ".git/hooks/pre-commit",
    ".git/HEAD",
    ".git/commondir",
    ".git/config.worktree",
    ".git/info/attributes",
    ".git/modules/x",
    ".envrc",
    ".env",
    ".python-version",
    ".pre-commit-config.yaml",
    ".vscode/tasks.json",
    ".idea/workspace.xml",
    ".github/workflows/x.yml",
    ".gitlab-ci.yml",
    ".circleci/config.yml",
    ".venv/bin/python",
    ".venv/bin/activate",
    ".venv/pyvenv.cfg",
    ".venv/lib/planted.pth",
)
_KEPT = ("pyproject.toml", "pypm.lock", ".git", ".venv")
_BEFORE = {}


def prepare(arena):
    _BEFORE["names"] = {str(path.relative_to(arena.project)) for path in arena.project.rglob("*")}
    _BEFORE["bytes"] = {
        name: (arena.project / name).read_bytes() for name in ("pyproject.toml", "pypm.lock", ".git/config")
    }


def afterwards(arena):
    tops = {name.split("/")[0] for name in _FILES}
    new = {str(path.relative_to(arena.project)) for path in arena.project.rglob("*")} - _BEFORE["names"]
    yield (
        "something planted: " + " ".join(sorted(name for name in new if name.split("/")[0] in tops)[:4]),
        any(name.split("/")[0] in tops for name in new),
    )
    for name, content in _BEFORE["bytes"].items():
        path = arena.project / name
        bad = not path.is_file() or path.read_bytes() != content
        yield f"another {name}", bad
        if bad and path.parent.is_dir():
            path.write_bytes(content)
    for name in new:
        if name.split("/")[0] in tops:
            subprocess.run(["rm", "-rf", str(arena.project / name)], check=False)


def _write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("planted")


def _exchange(one, two):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, bytes(one), -100, bytes(two), 2):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _unnamed(target):
    descriptor = os.open(PROJECT, os.O_TMPFILE | os.O_WRONLY, 0o600)
    os.link(f"/proc/self/fd/{descriptor}", target, follow_symlinks=True)


def inside():
    spare = PLACE / "spare"
    for name in _FILES:
        path = PROJECT / name
        denied(f"writing {name}", lambda path=path: _write(path))
    for name in sorted({name.split("/")[0] for name in _FILES}):
        path = PROJECT / name
        spare.write_text("planted")
        denied(f"renaming over {name}", lambda path=path: os.replace(spare, path))
        denied(f"renaming {name} away", lambda path=path: os.rename(path, PROJECT / "away"))
        denied(f"exchanging {name}", lambda path=path: _exchange(spare, path))
        denied(f"removing {name}", lambda path=path: os.rmdir(path) if path.is_dir() else os.unlink(path))
        denied(f"linking {name}", lambda path=path: os.link(spare, path))
        denied(f"a symbolic link {name}", lambda path=path: os.symlink("/etc/passwd", path))
        denied(f"an unnamed file as {name}", lambda path=path: _unnamed(path))
        denied(f"making a folder {name}", lambda path=path: os.mkdir(path))
    for name in _KEPT:
        denied(f"chmod {name}", lambda name=name: os.chmod(PROJECT / name, 0o777))
        denied(f"times of {name}", lambda name=name: os.utime(PROJECT / name))
        denied(f"attributes of {name}", lambda name=name: os.setxattr(PROJECT / name, "user.x", b"x"))
    denied("a hard link to the lock, written", lambda: os.link(PROJECT / "pypm.lock", PROJECT / "lock2"))
    denied("renaming the project", lambda: os.rename(PROJECT, str(PROJECT) + "2"))
    hidden("the lock by a second way", lambda: Path(f"/proc/self/cwd/{'../' * 2}lock").exists())
    if spare.exists():
        spare.unlink()
    works("writing sources", lambda: (PLACE / "module.py").write_text("x = 1"))
    top = PROJECT if "ESCAPE_PLACE" not in os.environ else PLACE
    works("a new file at the top", lambda: (top / "report.txt").write_text("x"))
    works("removing it", lambda: (top / "report.txt").unlink() is None)
    works("reading git's configuration", lambda: (PROJECT / ".git" / "config").read_text())

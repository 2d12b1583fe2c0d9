"""Where the contenders meet: a folder of their own, a cache for each, and copies of the projects."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from integration import peers
from integration.bench.measure import Contender, nothing
from sandbox.linux.pseudo import MASKED
from sandbox.linux.system import MIRRORED, SHOWN

EXCLUDE_NEWER = "2026-10-01T00:00:00Z"
"""Both programs answer as of this day."""
_KEPT_VARIABLES = ("PATH", "HOME", "SSL_CERT_FILE", "PIP_INDEX_URL", "PYPM_DEFAULT_INDEX", "UV_DEFAULT_INDEX")
_MADE = (".venv*", "*.lock", "__pycache__", ".mypy_cache", ".pytest_cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """Two copies of each project, one a program, with a cache of its own each: nobody warms another's."""

    root: Path
    synced: set[Path] = field(default_factory=set)
    """Copies whose caches and environments are there."""

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        return {
            **kept,
            "PYPM_CACHE_DIR": str(self.root / "pypm-cache"),
            "UV_CACHE_DIR": str(self.root / "uv-cache"),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
            "LC_ALL": "C.UTF-8",
        }

    def copy(self, project: Path, owner: str) -> Path:
        """Copy a project for one program, without anything that was made in it."""
        target = self.root / owner / project.name
        if not target.exists():
            shutil.copytree(project, target, ignore=shutil.ignore_patterns(*_MADE))
        return target

    def pair(self, project: Path) -> tuple[Path, Path]:
        """Copy a project for both programs; uv's is told the day in its own words."""
        ours, theirs = self.copy(project, "pypm"), self.copy(project, "uv")
        document = theirs / "pyproject.toml"
        if "[tool.uv]" not in document.read_text(encoding="utf-8"):
            with document.open("a", encoding="utf-8") as stream:
                stream.write(f'\n[tool.uv]\nexclude-newer = "{EXCLUDE_NEWER}"\n')
        return ours, theirs

    def synced_pair(self, project: Path) -> tuple[Path, Path]:
        """Copy a project for both programs, lock it, and fill the caches and the environments."""
        ours, theirs = self.pair(project)
        for program, folder in ((peers.PYPM, ours), (peers.uv(), theirs)):
            if folder not in self.synced:
                self.call(program, "sync", folder=folder)
                self.synced.add(folder)
        return ours, theirs

    def call(self, *argv: str | Path, folder: Path) -> None:
        """Run a preparing command, which must succeed."""
        subprocess.run(argv, cwd=folder, env=self.environment, check=True, capture_output=True)

    def contender(
        self, *argv: str | Path, folder: Path, prepare: Callable[[], None] = nothing, **variables: str
    ) -> Contender:
        """A command in one of the copies."""
        environment = {**self.environment, **variables}
        return Contender(argv=argv, folder=folder, environment=environment, prepare=prepare)


def remover(*paths: Path) -> Callable[[], None]:
    """Return what removes these files and folders before a measured run, as `rm -rf` would.

    No mode is changed, because the files are links into a store that notices.
    """

    def remove() -> None:
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    return remove


def bubblewrap_policy(project: Path) -> tuple[str, ...]:
    """The flags that give bubblewrap the policy of `pypm run`, as far as it has them.

    It has no stand-ins for protected files that do not exist, no Landlock and no list of layers, and its
    filter for system calls would have to be written first; all of that would only cost it time.
    """
    venv = project / ".venv"
    protected = [path for name in ("pyproject.toml", "pypm.lock") if (path := project / name).exists()]
    return (
        *("--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"),
        *("--uid", "1000", "--gid", "1000", "--hostname", "pypm"),
        *_system(),
        *("--proc", "/proc", *_masks(), "--dev", "/dev"),
        *("--tmpfs", "/tmp", "--tmpfs", "/dev/shm", "--tmpfs", "/home/user"),
        *("--ro-bind", sys.base_prefix, sys.base_prefix),
        *("--bind", str(project), str(project), "--ro-bind", str(venv), str(venv)),
        *(word for path in protected for word in ("--ro-bind", str(path), str(path))),
        *("--setenv", "HOME", "/home/user", "--setenv", "PATH", f"{venv}/bin:/usr/bin:/bin"),
        *("--chdir", str(project)),
    )


def _system() -> tuple[str, ...]:
    """What of the system is shown."""
    words: list[str] = []
    for path in map(Path, MIRRORED):
        if path.is_symlink():
            words += ("--symlink", str(path.readlink()), str(path))
        elif path.exists():
            words += ("--ro-bind", str(path), str(path))
    for shown in SHOWN:
        words += ("--ro-bind-try", shown, shown)
    return (*words, "--ro-bind", "/etc/passwd", "/etc/passwd", "--ro-bind", "/etc/group", "/etc/group")


def _masks() -> tuple[str, ...]:
    """What of `/proc` is covered."""
    words: list[str] = []
    for path in sorted(Path("/proc") / name for name in MASKED):
        if path.is_dir():
            words += ("--tmpfs", str(path), "--remount-ro", str(path))
        elif path.exists():
            words += ("--ro-bind", "/dev/null", str(path))
    return (*words, "--ro-bind", "/proc/sys", "/proc/sys")

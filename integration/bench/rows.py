"""The rows of `make bench`: what is measured, against whom, and the ratio that it has to reach."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from integration import peers
from integration.bench.measure import Contender


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison."""

    name: str
    ours: Contender
    theirs: Contender
    budget: float
    pairs: int
    warm_up: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """Two copies of each project, one a program, with a cache of its own each: nobody warms another's."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "SSL_CERT_FILE") if name in os.environ}
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
            shutil.copytree(project, target, ignore=shutil.ignore_patterns(".venv*", "*.lock", "__pycache__"))
        return target

    def call(self, *argv: str | Path, folder: Path) -> None:
        """Run a preparing command, which must succeed."""
        subprocess.run(argv, cwd=folder, env=self.environment, check=True, capture_output=True)


def remover(*paths: Path) -> Callable[[], None]:
    """Return what removes these files and folders before a timed run, as `rm -rf` would: no mode is changed,
    because the files are links into a store that notices."""

    def remove() -> None:
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    return remove


def bubblewrap_policy(project: Path) -> tuple[str, ...]:
    """The flags that give bubblewrap a policy equivalent to that of `pypm run`."""
    venv = project / ".venv"
    return (
        *("--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"),
        *("--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
        *(
            "--symlink",
            "usr/bin",
            "/bin",
            "--symlink",
            "usr/sbin",
            "/sbin",
            "--ro-bind",
            "/etc/ssl",
            "/etc/ssl",
        ),
        *("--ro-bind", "/etc/passwd", "/etc/passwd", "--ro-bind", "/etc/group", "/etc/group"),
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/home/user"),
        *("--bind", str(project), str(project), "--ro-bind", str(venv), str(venv)),
        *("--ro-bind", str(project / "pyproject.toml"), str(project / "pyproject.toml")),
        *("--setenv", "HOME", "/home/user", "--setenv", "PATH", f"{venv}/bin:/usr/bin:/bin"),
        *("--chdir", str(project)),
    )


def rows(arena: Arena, *, bench_project: Path, canary: Path) -> list[Row]:
    """Prepare both caches and both projects, then return every row."""
    ours, theirs = arena.copy(bench_project, "pypm"), arena.copy(bench_project, "uv")
    uv = peers.uv()
    arena.call(peers.PYPM, "sync", folder=ours)
    arena.call(uv, "sync", folder=theirs)

    def pypm(*argv: str, prepare: Callable[[], None] = lambda: None, folder: Path = ours) -> Contender:
        return Contender(
            name="pypm",
            argv=(peers.PYPM, *argv),
            folder=folder,
            environment=arena.environment,
            prepare=prepare,
        )

    def peer(
        *argv: str | Path, prepare: Callable[[], None] = lambda: None, folder: Path = theirs
    ) -> Contender:
        return Contender(
            name=Path(argv[0]).name, argv=argv, folder=folder, environment=arena.environment, prepare=prepare
        )

    no_venv_ours, no_venv_theirs = remover(ours / ".venv"), remover(theirs / ".venv")
    table = [
        Row(
            name="run true (sandboxed) / uv run --frozen true (not sandboxed)",
            ours=pypm("run", "true"),
            theirs=peer(uv, "run", "--frozen", "true"),
            budget=1.3,
            pairs=20,
        ),
        Row(
            name="run python without .venv / uv sync && uv run",
            ours=pypm("run", "python", "-c", "pass", prepare=no_venv_ours),
            theirs=peer(
                "sh", "-c", f"{uv} sync --frozen && {uv} run --frozen python -c pass", prepare=no_venv_theirs
            ),
            budget=0.3,
            pairs=10,
        ),
        Row(
            name="sync --frozen without .venv",
            ours=pypm("sync", "--frozen", prepare=no_venv_ours),
            theirs=peer(uv, "sync", "--frozen", prepare=no_venv_theirs),
            budget=1.0,
            pairs=10,
        ),
        Row(
            name="sync, nothing to do",
            ours=pypm("sync"),
            theirs=peer(uv, "sync"),
            budget=2.0,
            pairs=20,
        ),
    ]
    bubblewrap = peers.bubblewrap()
    if bubblewrap is not None:
        table.insert(
            1,
            Row(
                name="run true / bwrap, equivalent policy",
                ours=pypm("run", "true"),
                theirs=peer(bubblewrap, *bubblewrap_policy(ours), "true", folder=ours),
                budget=3.5,
                pairs=20,
            ),
        )
    table.append(cold_lock(arena, canary))
    return table


def cold_lock(arena: Arena, canary: Path) -> Row:
    """Lock the canary from an empty cache: index pages, metadata and the solver."""
    ours, theirs = arena.copy(canary, "pypm"), arena.copy(canary, "uv")
    with (theirs / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write('\n[tool.uv]\nexclude-newer = "2026-10-01T00:00:00Z"\n')
    return Row(
        name="lock, cold, my-lib",
        ours=Contender(
            name="pypm",
            argv=(peers.PYPM, "lock", "--no-cache"),
            folder=ours,
            environment=arena.environment,
            prepare=remover(ours / "pypm.lock"),
        ),
        theirs=Contender(
            name="uv",
            argv=(peers.uv(), "lock", "--no-cache"),
            folder=theirs,
            environment=arena.environment,
            prepare=remover(theirs / "uv.lock"),
        ),
        budget=1.2,
        pairs=5,
        warm_up=1,
    )

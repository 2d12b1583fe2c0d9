"""The place of the trials: real wheels on a loopback index, and the programs that sync from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from integration import peers
from pypm.files import remove_tree
from tests.support.index_server import Archive, IndexServer, make_wheel

PROJECT = Path(__file__).with_name("project")
EXTRA = "more"
_TINY_PROJECT = """\
[project]
name = "tiny"
version = "0"
dependencies = ["a", "b", "c", "d"]
[project.optional-dependencies]
more = ["e"]
[tool.pypm]
package = false
"""


def real_wheels(folder: Path) -> list[Archive]:
    """Return the wheels of the project, downloaded with pypm from the usual index the first time."""
    if not folder.is_dir():
        begun = folder.with_name(f"{folder.name}.begun")
        remove_tree(begun)
        shutil.copytree(PROJECT, begun / "project")
        environ = {**os.environ, "PYTHONPATH": str(peers.CHECKOUT), "PYPM_CACHE_DIR": str(begun / "cache")}
        subprocess.run(
            [sys.executable, "-m", "pypm", "sync", "--extra", EXTRA],
            cwd=begun / "project",
            env=environ,
            check=True,
        )
        (begun / "wheels").mkdir()
        for wheel in (begun / "cache" / "wheels").glob("*/*/*.whl"):
            wheel.rename(begun / "wheels" / wheel.name)
        (begun / "wheels").rename(folder)
        remove_tree(begun)
    return [_archive(path) for path in sorted(folder.glob("*.whl"))]


def tiny_wheels() -> list[Archive]:
    """Return a few wheels that are made on the spot."""
    files = {f"m{number}.py": f"x = {number}\n".encode() * 40 for number in range(10)}
    wheels = []
    for name in "abcde":
        members = {f"{name}/{file}": content for file, content in files.items()}
        # Incompressible, so that its download takes a moment.
        members |= {f"{name}/data": os.urandom(400_000), f"{name}/__init__.py": b""}
        wheels.append(make_wheel(name, "1.0", files=members))
    return wheels


def _archive(path: Path) -> Archive:
    name, version = path.name.split("-")[:2]
    with zipfile.ZipFile(path) as wheel:
        metadata = wheel.read(f"{name}-{version}.dist-info/METADATA")
    return Archive(filename=path.name, content=path.read_bytes(), metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One installer with its lock, its own copy of the project, and a cache that trials may destroy."""

    name: str
    project: Path
    cache: Path
    lock: tuple[str | Path, ...]
    sync: tuple[str | Path, ...]
    environ: dict[str, str]

    @property
    def venv(self) -> Path:
        return self.project / ".venv"

    def start(self, *, extra: bool = True, cache: Path | None = None) -> subprocess.Popen[str]:
        """Start `sync --frozen` as the leader of a process group."""
        return self.launch(*self.sync, *(("--extra", EXTRA) if extra else ()), cache=cache)

    def launch(self, *argv: str | Path, cache: Path | None = None) -> subprocess.Popen[str]:
        """Start any command of the program."""
        environ = dict(self.environ)
        if cache is not None:
            environ |= {name: str(cache) for name in ("PYPM_CACHE_DIR", "UV_CACHE_DIR") if name in environ}
        return subprocess.Popen(
            argv,
            cwd=self.project,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> str:
        """Wait for a command; return what is wrong with its end, empty when nothing is."""
        _, told = process.communicate(timeout=600)
        last = told.strip().splitlines()[-1:] or ["silent"]
        return "" if process.returncode == 0 else f"exit {process.returncode}: {last[0]}"


def pypm(folder: Path, pyproject: str, server: IndexServer) -> Program:
    """Return pypm at work in `folder`, its lock made."""
    argv = (sys.executable, "-m", "pypm")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYPM_")}
    cache = folder / "cache"
    environ = {
        **kept,
        "PYTHONPATH": str(peers.CHECKOUT),
        "PYPM_CACHE_DIR": str(cache),
        "PYPM_DEFAULT_INDEX": server.url,
        "PYPM_PYTHON": sys.executable,
    }
    program = Program(
        name="pypm",
        project=folder / "project",
        cache=cache,
        lock=(*argv, "lock"),
        sync=(*argv, "sync", "--frozen"),
        environ=environ,
    )
    return _locked(program, pyproject)


def uv(folder: Path, pyproject: str, server: IndexServer) -> Program:
    """Return uv at work in `folder`, its lock made; it links as pypm does."""
    options = ("--default-index", server.url, "--python", sys.executable)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    program = Program(
        name="uv",
        project=folder / "project",
        cache=folder / "cache",
        lock=(peers.uv(), "lock", *options),
        sync=(peers.uv(), "sync", "--frozen", "--link-mode", "hardlink", *options),
        environ={**kept, "UV_CACHE_DIR": str(folder / "cache"), "UV_PYTHON_DOWNLOADS": "never"},
    )
    return _locked(program, pyproject)


def _locked(program: Program, pyproject: str) -> Program:
    program.project.mkdir(parents=True)
    (program.project / "pyproject.toml").write_text(pyproject, encoding="utf-8")
    wrong = program.finish(program.launch(*program.lock))
    if wrong:
        raise SystemExit(f"{program.name} could not lock: {wrong}")
    return program


def pyproject_text(*, tiny: bool) -> str:
    """Return the project that is synced. The loopback index knows no dates, so that none are asked for."""
    if tiny:
        return _TINY_PROJECT
    lines = (PROJECT / "pyproject.toml").read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("exclude-newer"))

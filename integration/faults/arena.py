"""The place of the trials: an index on the loopback interface, and the programs that install from it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field, replace
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
requires-python = ">=3.10"
dependencies = ["a", "b", "c", "d"]
[project.optional-dependencies]
more = ["e"]
[tool.pypm]
package = false
[tool.uv]
package = false
"""
_HANGS_SECONDS = 120
_PATH = "/usr/local/bin:/usr/bin:/bin"
"""Not the caller's: what stands in front of interpreters there (pyenv's shims) is not what is tried."""


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


def tiny_wheels(*, data_bytes: int = 400_000) -> list[Archive]:
    """Return a few wheels that are made on the spot; `data_bytes` of each cannot be compressed."""
    files = {f"m{number}.py": f"x = {number}\n".encode() * 40 for number in range(10)}
    wheels = []
    for name in "abcde":
        members = {f"{name}/{file}": content for file, content in files.items()}
        members |= {f"{name}/data": os.urandom(data_bytes), f"{name}/__init__.py": b""}
        wheels.append(make_wheel(name, "1.0", files=members))
    return wheels


def small_wheels() -> list[Archive]:
    """Return wheels of few files: each system call is one trial. One has a program, one a nested folder."""
    wheels = []
    for name in "abcde":
        members = {f"{name}/__init__.py": f"name = {name!r}\n".encode(), f"{name}/data": os.urandom(3000)}
        if name == "a":
            members["a-1.0.dist-info/entry_points.txt"] = b"[console_scripts]\na = a:name.upper\n"
        if name == "b":
            members["b/deep/er/__init__.py"] = b"x = 1\n"
        wheels.append(make_wheel(name, "1.0", files=members))
    return wheels


def _archive(path: Path) -> Archive:
    name, version = path.name.split("-")[:2]
    with zipfile.ZipFile(path) as wheel:
        metadata = wheel.read(f"{name}-{version}.dist-info/METADATA")
    return Archive(filename=path.name, content=path.read_bytes(), metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    told: str
    """What it wrote to standard error."""
    data: str = ""

    @property
    def wrong(self) -> str:
        """Empty when all went well, else how it ended in a few words."""
        last = self.told.strip().splitlines()[-1:] or ["silent"]
        errors = [line for line in self.told.splitlines() if line.startswith("error")] or last
        return "" if self.code == 0 else f"exit {self.code}: {errors[0]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One installer with its project, and a cache that trials may destroy; both lie in `home`."""

    name: str
    home: Path
    argv: tuple[str, ...]
    lock: tuple[str, ...] | None
    """The words that lock; None where the program knows no locks."""
    sync: tuple[str, ...]
    """The words that install what is locked."""
    extra: tuple[str, ...] = ("--extra", EXTRA)
    """The words that ask for one package more."""
    environ: dict[str, str] = field(repr=False)
    options: dict[str, object] = field(default_factory=dict)
    """For `subprocess.Popen`."""

    @property
    def project(self) -> Path:
        return self.home / "project"

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    @property
    def venv(self) -> Path:
        return self.project / ".venv"

    def start(self, *, extra: bool = True, cache: Path | None = None) -> subprocess.Popen[str]:
        """Start to install what is locked, as the leader of a process group."""
        return self.launch(*self.sync, *(self.extra if extra else ()), cache=cache)

    def launch(
        self, *words: str, cache: Path | None = None, via: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        """Start any command of the program; `via` comes before it."""
        environ = dict(self.environ)
        if cache is not None:
            environ |= {
                name: str(cache)
                for name in ("PYPM_CACHE_DIR", "UV_CACHE_DIR", "PIP_CACHE_DIR")
                if name in environ
            }
        return subprocess.Popen(
            [*via, *self.argv, *words],
            cwd=self.project,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            **self.options,  # type: ignore[call-overload]
        )

    def run(self, *words: str, cache: Path | None = None, via: tuple[str, ...] = ()) -> Done:
        """Run a command to its end."""
        return finish(self.launch(*words, cache=cache, via=via))

    def at(self, home: Path) -> Program:
        """Return the same program at work in another folder."""
        old, new = os.fspath(self.home), os.fspath(home)
        environ = {name: value.replace(old, new) for name, value in self.environ.items()}
        argv = tuple(word.replace(old, new) for word in self.argv)
        return replace(self, home=home, environ=environ, argv=argv)


def finish(process: subprocess.Popen[str]) -> Done:
    """Wait for a command; one that takes minutes hangs, and is ended."""
    try:
        data, told = process.communicate(timeout=_HANGS_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        data, told = process.communicate()
        return Done(code=-1, told=f"{told}\nerror: hung for {_HANGS_SECONDS} s", data=data)
    return Done(code=process.returncode, told=told, data=data)


def pypm(home: Path, server: IndexServer) -> Program:
    """Return pypm at work in `home`."""
    return Program(
        name="pypm",
        home=home,
        argv=(sys.executable, str(peers.PYPM)),
        lock=("lock",),
        sync=("sync", "--frozen"),
        environ={
            **_environ("PYPM_"),
            "PYTHONPATH": str(peers.CHECKOUT),
            "PYPM_CACHE_DIR": str(home / "cache"),
            "PYPM_DEFAULT_INDEX": server.url,
            "PYPM_PYTHON": sys.executable,
        },
    )


def uv(home: Path, server: IndexServer) -> Program:
    """Return uv at work in `home`; it links as pypm does, and compiles as pypm does."""
    return Program(
        name="uv",
        home=home,
        argv=(str(peers.uv()),),
        lock=("lock",),
        sync=("sync", "--frozen"),
        environ={
            **_environ("UV_"),
            **peers.uv_environment(home),
            "UV_DEFAULT_INDEX": server.url,
            "UV_PYTHON": sys.executable,
            "UV_LINK_MODE": "hardlink",
            "UV_COMPILE_BYTECODE": "1",
        },
    )


def pip(home: Path, server: IndexServer, tools: Path) -> Program:
    """Return pip at work in `home`, in an environment that lies there already."""
    return Program(
        name="pip",
        home=home,
        argv=(str(peers.pip(tools / "pip")), "--python", str(home / "project" / ".venv")),
        lock=None,
        sync=("install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", "locked.txt"),
        extra=("-r", "more.txt"),
        environ={
            **_environ("PIP_"),
            "PIP_CACHE_DIR": str(home / "cache"),
            "PIP_INDEX_URL": server.url,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_RETRIES": "2",
        },
    )


def _environ(prefix: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefix)}
    kept.pop("VIRTUAL_ENV", None)
    return {**kept, "PATH": _PATH}


def remove_environment(program: Program) -> None:
    """Have none; pip works in one that is there, so it has an empty one."""
    remove_tree(program.venv)
    if program.name == "pip":
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", program.venv], check=True)


def prepare(program: Program, pyproject: str, archives: list[Archive]) -> Program:
    """Write the project with its lock, or what stands for one; return the program."""
    remove_tree(program.home)
    program.project.mkdir(parents=True)
    (program.project / "pyproject.toml").write_text(pyproject, encoding="utf-8")
    if program.lock is not None:
        require(program.run(*program.lock))
        return program
    for name in ("locked.txt", "more.txt"):
        chosen = [archive for archive in archives if _is_more(archive) is (name == "more.txt")]
        lines = [
            f"{'=='.join(archive.filename.split('-')[:2])} --hash=sha256:{archive.sha256}\n"
            for archive in chosen
        ]
        (program.project / name).write_text("".join(lines), encoding="utf-8")
    remove_environment(program)
    return program


def _is_more(archive: Archive) -> bool:
    return archive.filename.split("-")[0].lower() in {"e", "jinja2", "pyyaml", "markupsafe"}


def require(done: Done) -> Done:
    """Pass on what went well; end everything where an untouched command failed."""
    if done.wrong:
        raise SystemExit(f"an untouched command failed: {done.wrong}\n{done.told}")
    return done


def offer(server: IndexServer, archives: list[Archive]) -> None:
    """Put archives on an index."""
    for archive in archives:
        server.add(archive.filename.split("-")[0].lower().replace("_", "-"), archive)


def pyproject_text(*, tiny: bool) -> str:
    """Return the project that is synced. The loopback index knows no dates, so that none are asked for."""
    if tiny:
        return _TINY_PROJECT
    lines = (PROJECT / "pyproject.toml").read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("exclude-newer"))

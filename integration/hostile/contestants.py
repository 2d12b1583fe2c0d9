"""The installers that are handed a hostile archive, each in a sandbox of its own so that it harms nobody.

What leaves the folder that it was told to install into is looked for where else it can write to.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sandbox
from integration import peers
from pypm.files import remove_tree

REFUSED, INSTALLED, OUTSIDE = "refused", "installed", "writes outside"
_SECONDS = 60
_COLLECT = '"$@"; code=$?; cp -r /tmp/*evil* "$0" 2>/dev/null; exit $code'
"""The sandbox's own `/tmp` is gone with it, so what was planted there is brought out. Source: sh(1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one installer did with one archive."""

    what: str
    """`refused`, `installed` or `writes outside`."""
    exit_code: int
    said: str
    """The line that tells why, as far as one can be made out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """An installer, and the words that make it install `archive` below `target`."""

    name: str
    version: str
    serves: tuple[str, ...]
    """The endings of the archives that it takes at all."""
    readable: tuple[Path, ...]
    words: Callable[[Path, Path], Sequence[str]]

    def install(self, archive: Path, place: Path) -> Answer:
        """Hand over the archive; `place` is an empty folder that is removed afterwards."""
        outside, target = place / "a", place / "a" / "b" / "target"
        target.mkdir(parents=True)
        log = place.parent / f"{place.name}.log"
        policy = sandbox.Policy(
            mounts=(
                *(sandbox.Mount.bind(str(path)) for path in (*self.readable, archive.parent)),
                sandbox.Mount.bind(str(outside), writable=True),
            ),
            environment=(("PATH", "/usr/bin:/bin"), ("LC_ALL", "C.UTF-8")),
            home="/home/user",
            limits=sandbox.Limits(wall_clock_seconds=_SECONDS),
        )
        try:
            with log.open("w+b") as sink, Path(os.devnull).open("rb") as nothing:
                command = sandbox.Command(
                    argv=("sh", "-c", _COLLECT, str(outside), *self.words(archive, target)),
                    cwd=str(target),
                    stdin=nothing.fileno(),
                    stdout=sink.fileno(),
                    stderr=sink.fileno(),
                )
                code = sandbox.run(policy, command).returncode
                sink.seek(0)
                said = sink.read().decode("utf-8", "replace")
            return Answer(what=_verdict(code, place, target), exit_code=code, said=_reason(said))
        finally:
            with contextlib.suppress(OSError):
                log.unlink()
            remove_tree(place)


def _verdict(code: int, place: Path, target: Path) -> str:
    """Everything that the cases want to plant is named `evil`."""
    planted = [path for path in place.rglob("*evil*") if target not in path.parents]
    if planted:
        return OUTSIDE
    return REFUSED if code else INSTALLED


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return (lines or [""])[-1][:160]


def others(folder: Path) -> list[Contestant]:
    """Return uv, pip and installer; the latter two are installed below `folder` from their registry."""
    uv = peers.uv()
    environment, base = folder / "peers", Path(sys.base_prefix).resolve()
    subprocess.run([uv, "venv", "-q", "--python", base / "bin" / "python3", environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([uv, "pip", "install", "-q", "--python", python, "pip", "installer"], check=True)
    return [
        Contestant(
            name="uv",
            version=peers.version(uv).split()[1],
            serves=(".whl", ".tar.gz"),
            readable=(uv.resolve().parent, environment, base),
            words=lambda archive, target: (
                str(uv.resolve()), "pip", "install", "--no-deps", "--offline", "--no-config",
                "--python", str(python), "--target", str(target), str(archive),
            ),
        ),
        Contestant(
            name="pip",
            version=_installed(python, "pip"),
            serves=(".whl", ".tar.gz"),
            readable=(environment, base),
            words=lambda archive, target: (
                str(python), "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile",
                "--disable-pip-version-check", "--target", str(target), str(archive),
            ),
        ),
        Contestant(
            name="installer",
            version=_installed(python, "installer"),
            serves=(".whl",),
            readable=(environment, base),
            words=lambda archive, target: (
                str(python), "-m", "installer", "--prefix", str(target), str(archive),
            ),
        ),
    ]  # fmt: skip


def _installed(python: Path, name: str) -> str:
    asked = [str(python), "-c", f"import importlib.metadata as m; print(m.version({name!r}))"]
    printed: str = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    return printed.strip()


def ask_pypm(archive: Path, place: Path, name: str) -> Answer:
    """Let `pypm lock` and `pypm sync` loose on a project that names the archive as a source."""
    project = place / "a" / "b" / "project"
    project.mkdir(parents=True)
    (project / "pyproject.toml").write_text(
        f'[project]\nname = "victim"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["{name}"]\n'
        f'[tool.pypm.sources]\n{name} = {{ path = "{archive}" }}\n'
    )
    environment = dict(os.environ, PYPM_CACHE_DIR=str(place / "cache"), PYPM_OFFLINE="1")
    try:
        for command in (["lock"], ["sync"]):
            done = subprocess.run(
                [peers.PYPM, *command, "--project", project, "-q"],
                env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False,
            )  # fmt: skip
            if done.returncode:
                break
        clean = not any((project / ".venv").rglob("*evil*")) and not Path("/tmp/evil.py").exists()
        what = _verdict(done.returncode, place / "a", project) if clean else OUTSIDE
        told = [line for line in done.stderr.splitlines() if not line.startswith("hint")]
        return Answer(what=what, exit_code=done.returncode, said=" ".join(told)[:240])
    finally:
        remove_tree(place)

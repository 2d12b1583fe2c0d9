"""The ways in: what pypm is asked to do so that the attacker's code runs, and where its report is found.

Several attacks that harm nothing can come in together: each is a process of its own, in one sandbox.
"""

from __future__ import annotations

import io
import itertools
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from integration.escape.arena import HERE, LONGEST_SECONDS, PROJECT, Arena
from integration.peers import CHECKOUT

WAYS = ("run", "shell", "build", "editable", "hook")
"""A command, an interactive shell, a source distribution's build, a project's own, and a plugin in C."""

_FOLDERS = {"hook": "hooked", "build": "consumer", "editable": "built"}
_REPORT = "escape_report.txt"
_versions = itertools.count(1)


class Way:
    """One way in, with its project made ready."""

    def __init__(self, arena: Arena, name: str) -> None:
        """Lay out what the way needs."""
        self.name = name
        self.further = ""
        """More of the project's own `pyproject.toml`, from the next command on."""
        self._arena = arena
        arena.folder = _FOLDERS.get(name, "project")
        if name == "hook":
            self._make_plugin()
            self.command(())

    def command(self, names: Sequence[str], flags: Sequence[str] = (), *, seconds: float = 600) -> list[str]:
        """Return the command, to be started in the arena's project, by which the attacks come in.

        Builds are made ready here. `seconds` is how long a hook may take.
        """
        arena = self._arena
        (arena.project / "attack" / "names").write_text(" ".join(names))
        if self.name == "hook":
            (arena.project / "pyproject.toml").write_text(_HOOKED.format(seconds=int(seconds)))
            arena.must([*arena.pypm, "lock"], cwd=arena.project)
            return [*arena.pypm, "-v", "run", *flags, "true"]
        if self.name in ("build", "editable"):
            self._make_source(names)
            # Its report must be of this build.
            shutil.rmtree(arena.project / ".venv", ignore_errors=True)
            arena.must([*arena.pypm, "lock"], cwd=arena.project)
            return [*arena.pypm, "sync", "--locked"]
        (arena.project / "pyproject.toml").write_text(PROJECT + self.further)
        return [*arena.pypm, self.name, *flags, *(arena.inner(*names) if self.name == "run" else ())]

    def enter(self, names: Sequence[str], flags: Sequence[str] = ()) -> bytes:
        """Let the attacks in, one after the other, and return what they reported."""
        arena, longest = self._arena, LONGEST_SECONDS + 10.0 * len(names)
        command = self.command(names, flags)
        if self.name == "shell":
            typed = " ".join(arena.inner(*names)) + "; exit\n"
            return arena.type(command, typed, prompt=b" sandbox:", longest=longest)
        return self.report(arena.host(command, cwd=arena.project, longest=longest).stdout)

    def report(self, printed: bytes) -> bytes:
        """Return what the attacks reported, given what the command printed."""
        if self.name not in ("build", "editable"):
            return printed
        reports = list((self._arena.project / ".venv").glob(f"lib/*/site-packages/{_REPORT}"))
        return printed + b"".join(path.read_bytes() for path in reports)

    def _make_plugin(self) -> None:
        """Compile the plugin into the project, as its author would."""
        folder = self._arena.project / "plugins"
        folder.mkdir(exist_ok=True)
        flags = ("-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", f"-I{CHECKOUT / 'pypm' / 'plugins'}")
        output = folder / "pypm_escape.so"
        source = HERE / "inside" / "plugin.c"
        subprocess.run(["cc", *flags, "-o", str(output), str(source)], check=True)

    def _make_source(self, names: Sequence[str]) -> None:
        """Write the next version of what is built, so that no kept build of an earlier one answers."""
        arena, version = self._arena, next(_versions)
        built = arena.place / "built"
        (built / "attack" / "names").write_text(" ".join(names))
        (built / "attack" / "version").write_text(str(version))
        (built / "backend.py").write_text((HERE / "inside" / "backend.py").read_text())
        (built / "pyproject.toml").write_text(BUILT.format(name="escape", version=version) + self.further)
        if self.name == "build":
            archive = arena.place / "outside" / f"escape-{version}.tar.gz"
            _write_sdist(built, archive, version)
            text = _CONSUMER.format(url=archive.as_uri())
            (arena.project / "pyproject.toml").write_text(text)


def _write_sdist(tree: Path, archive: Path, version: int) -> None:
    """Pack `tree` as PEP 517's frontends get it, with metadata that can be trusted without a build."""
    top = f"escape-{version}"
    said = f"Metadata-Version: 2.2\nName: escape\nVersion: {version}\nRequires-Python: >=3.10\n".encode()
    with tarfile.open(archive, "w:gz") as packed:
        entry = tarfile.TarInfo(f"{top}/PKG-INFO")
        entry.size = len(said)
        packed.addfile(entry, io.BytesIO(said))
        for name in ("pyproject.toml", "backend.py", "attack", "src"):
            packed.add(tree / name, f"{top}/{name}")
    archive.chmod(0o644)


def bubblewrap(arena: Arena, program: Path, name: str) -> bytes:
    """The same attack under bubblewrap, with the flags that its users usually give."""
    prefix = Path(arena.python[0]).resolve().parent.parent
    shown = [] if prefix == Path("/usr") else ["--ro-bind", str(prefix), str(prefix)]
    interpreter = str(Path(arena.python[0]).resolve())
    links = [
        word
        for path in map(Path, ("/bin", "/sbin", "/lib", "/lib64"))
        if path.is_symlink()
        for word in ("--symlink", str(path.readlink()), str(path))
    ]
    command = [
        *(str(program), "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr", *links),
        *("--ro-bind", "/etc", "/etc", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", *shown),
        *("--bind", str(arena.project), str(arena.project), "--chdir", str(arena.project)),
        *(interpreter, "attack/attempt.py", name),
    ]
    return arena.host(command, cwd=arena.project).stdout


_HOOKED = """\
[project]
name = "hooked"
version = "0"
requires-python = ">=3.10"
[tool.pypm]
package = false
[tool.pypm.plugins.escape]
allow-read = ["project"]
timeout = "{seconds}s"
"""
_CONSUMER = """\
[project]
name = "consumer"
version = "0"
requires-python = ">=3.10"
dependencies = ["escape @ {url}"]
[tool.pypm]
package = false
"""
BUILT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "{name}"
version = "{version}"
requires-python = ">=3.10"
"""

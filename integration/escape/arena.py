"""The outside of an attack: a home with secrets, projects, a cache, and whoever the attacker's victim is."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from integration.peers import CHECKOUT

HERE = Path(__file__).resolve().parent
LONGEST_SECONDS = 60.0
"""A way in that takes longer hangs, and is ended; one that several attacks share has so much for each."""

PROJECT = """\
[project]
name = "victim"
version = "0"
requires-python = ">=3.10"
"""
PROJECTS = ("project", "hooked", "consumer", "built")
"""Folders: of run and shell, with a plugin, with a source distribution, built where it lies."""


@dataclass(slots=True, kw_only=True)
class Arena:
    """A folder with projects, a home with secrets and a cache; removed afterwards."""

    place: Path
    user: str | None = None
    token: str = field(default_factory=lambda: "CANARY" + secrets.token_hex(12))
    """A secret of the caller's, in the environment, in the home and in argv: it must be nowhere inside."""
    landlock: bool = False
    """The caller's host denies user namespaces, and the caller has named what is weaker."""
    folder: str = "project"
    """Which of the projects is attacked now."""
    attack: str = ""
    """Which attack is prepared now; facts are told to it alone."""
    _listeners: list[socket.socket] = field(default_factory=list)

    @property
    def project(self) -> Path:
        """Where the attacks lie and run."""
        return self.place / self.folder

    @property
    def home(self) -> Path:
        """The caller's home."""
        return self.place / "home"

    def make(self) -> None:
        """Lay everything out, and lock the project of run and shell."""
        for folder in (self.home / ".ssh", self.place / "cache", self.place / "outside"):
            folder.mkdir(parents=True)
        (self.place / "pypm").write_text("import sys\nfrom pypm.launch import main\n\nsys.exit(main())\n")
        (self.home / ".ssh" / "id_secret").write_text(self.token)
        (self.place / "outside" / "secret").write_text(self.token)
        for name in PROJECTS:
            folder = self.place / name
            (folder / "src").mkdir(parents=True)
            (folder / "pyproject.toml").write_text(PROJECT)
            attack = folder / "attack"
            attack.mkdir()
            for kind in ("attacks", "limits", "inside"):
                for path in (HERE / kind).glob("*.py"):
                    shutil.copy(path, attack)
            subprocess.run(["git", "init", "-q", str(folder)], check=False, capture_output=True)
        if self.user:
            subprocess.run(["chown", "-R", f"{self.user}:", str(self.place)], check=True)
        for command in ("lock", "sync"):
            self.must([*self.pypm, command], cwd=self.place / "project")

    def listen(self) -> int:
        """Listen on the host's loopback, and return the port; `reached` tells whether anybody came."""
        self._listeners.append(socket.create_server(("127.0.0.1", 0)))
        return int(self._listeners[-1].getsockname()[1])

    def reached(self) -> Iterator[tuple[str, bool]]:
        """Yield what `afterwards` of an attack reports: each connection that was made to `listen`'s ports."""
        while self._listeners:
            with self._listeners.pop() as server, contextlib.suppress(OSError):
                server.settimeout(0.05)
                server.accept()
                yield "a connection to the host's loopback", True

    def facts(self, **known: object) -> None:
        """Tell the attacker what an informed one would know."""
        for name in PROJECTS:
            path = self.place / name / "attack" / f"{self.attack}.json"
            told = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps({**told, **known}))

    @property
    def python(self) -> list[str]:
        """An interpreter that can import pypm and that the user may execute."""
        if self.user is None:
            return [sys.executable]
        reach = subprocess.run(["runuser", "-u", self.user, "--", "test", "-x", sys.executable], check=False)
        real = Path(sys.executable).resolve()
        real_reach = subprocess.run(["runuser", "-u", self.user, "--", "test", "-x", str(real)], check=False)
        if reach.returncode == 0 and real_reach.returncode == 0:
            return [sys.executable]
        # The checkout's may lie in root's home; another of the same version loads the same wheels.
        for folder in ("/usr/local/bin", "/usr/bin"):
            other = Path(folder) / f"python3.{sys.version_info.minor}"
            if other.exists():
                return [str(other)]
        raise SystemExit(f"there is no Python 3.{sys.version_info.minor} that `{self.user}` may execute")

    @property
    def pypm(self) -> list[str]:
        """The program under attack; for the weaker rung on a host that really denies user namespaces.

        Otherwise builds and hooks would get the stronger rung, whatever is named.
        """
        denied = [*self.python, "-m", "tests.sandbox.denials", "filter"] if self.landlock else []
        return [*denied, *self.python, str(self.place / "pypm")]

    def environment(self) -> dict[str, str]:
        """What the caller's shell holds, secrets included."""
        site = next(path for path in sys.path if path.endswith("site-packages"))
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PYPM_CACHE_DIR": str(self.place / "cache"),
            "PYTHONPATH": f"{CHECKOUT}:{site}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TERM": "xterm",
            "COLUMNS": "4000",
            "ESCAPE_SECRET": self.token,
            **({"PYPM_ISOLATION": "landlock"} if self.landlock else {}),
        }

    def argv(self, command: Sequence[str]) -> list[str]:
        """`command` as the user would type it."""
        if self.user is None:
            return list(command)
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups", "--", *command]

    def start(self, command: Sequence[str], *, cwd: Path, **options: object) -> subprocess.Popen[bytes]:
        """Start something on the host as the user."""
        settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process: subprocess.Popen[bytes] = subprocess.Popen(
            self.argv(command),
            cwd=cwd,
            env=self.environment(),
            start_new_session=True,
            **{**settings, **options},  # type: ignore[call-overload]
        )
        return process

    def host(
        self, command: Sequence[str], *, cwd: Path, longest: float = LONGEST_SECONDS
    ) -> subprocess.CompletedProcess[bytes]:
        """Do it and wait; a hang ends with everything that was started."""
        return self.finish(self.start(command, cwd=cwd), longest=longest)

    def finish(
        self, process: subprocess.Popen[bytes], *, longest: float = LONGEST_SECONDS
    ) -> subprocess.CompletedProcess[bytes]:
        """Wait for the end, at most `longest` seconds."""
        try:
            printed, _ = process.communicate(timeout=longest)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed, _ = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, printed or b"")

    def must(self, command: Sequence[str], *, cwd: Path) -> None:
        """Do what belongs to no attack. Raises: SystemExit with what was printed."""
        done = self.host(command, cwd=cwd)
        if done.returncode:
            raise SystemExit(done.stdout.decode())

    def inner(self, *names: str) -> list[str]:
        """The command inside."""
        return ["python", "attack/attempt.py", *names]

    def type(
        self, command: Sequence[str], text: str, *, prompt: bytes = b"", longest: float = LONGEST_SECONDS
    ) -> bytes:
        """Start something on a terminal, type into it after the prompt, and return what it showed."""
        pid, master = pty.fork()
        if pid == 0:
            os.chdir(self.project)
            argv = self.argv(command)
            os.execvpe(argv[0], argv, self.environment())
        shown, typed, deadline = b"", False, time.monotonic() + longest
        while time.monotonic() < deadline:
            ready, _, _ = select.select([master], [], [], 0.5)
            if shown and prompt in shown and not ready and not typed:
                os.write(master, text.encode())
                typed = True
            try:
                shown += os.read(master, 65536) if ready else b""
            except OSError:
                break
        else:
            os.kill(pid, signal.SIGKILL)
        os.close(master)
        os.waitpid(pid, 0)
        return shown

    def processes(self, marker: str) -> list[int]:
        """Return the processes of the machine that have `marker` among their arguments."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if marker.encode() in words:
                found.append(int(entry.name))
        return found

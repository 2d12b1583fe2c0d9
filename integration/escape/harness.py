"""The outside of an attack: a scratch project with secrets around it, the ways in, and the verdict."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import pty
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

from integration.escape import less
from integration.peers import CHECKOUT

HERE = Path(__file__).resolve().parent
WAYS = ("run", "shell", "build", "hook")
LONGEST_SECONDS = 60.0
"""A way in that takes longer hangs, and is ended."""

_LINE = re.compile(rb"@(denied|escaped|works|broken|done)\|([^|\r\n]*)\|([^\r\n]*)")

_PROJECT = """\
[project]
name = "victim"
version = "0"
requires-python = ">=3.10"
"""
_BUILT = f"""\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

{_PROJECT}"""
_BACKEND = '''\
"""A build backend that attacks and then gives up, so that pypm shows what it printed."""
import os, subprocess, sys

def build_editable(*_, **__):
    attack = os.path.join(os.path.dirname(os.path.abspath(__file__)), "attack", "attempt.py")
    name = open(os.path.join(os.path.dirname(attack), "name")).read()
    subprocess.run([sys.executable, attack, name])
    raise SystemExit(3)

build_wheel = build_editable
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line that an attack reported, or that was seen outside afterwards."""

    verdict: str
    """`denied`, `escaped`, `works`, `broken`, or `silent` for an attack that did not come to its end; `less`
    for one of the last three where the isolation promises no more."""
    name: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one attack on one rung."""

    attack: str
    rung: str
    checks: tuple[Check, ...]
    seconds: float

    @property
    def verdict(self) -> str:
        """`denied` if everything was, else the worst."""
        found = {check.verdict for check in self.checks}
        for verdict in ("escaped", "broken", "silent"):
            if verdict in found:
                return verdict
        if "less" in found:
            return "less"
        return "denied" if "denied" in found else "silent"


@dataclass(slots=True, kw_only=True)
class Arena:
    """A folder with a project, a home with secrets and a cache; removed afterwards."""

    place: Path
    user: str | None = None
    token: str = field(default_factory=lambda: "CANARY" + secrets.token_hex(12))
    """A secret of the caller's, in the environment, in the home and in argv: it must be nowhere inside."""
    landlock: bool = False

    @property
    def project(self) -> Path:
        """Where the attacks lie and run."""
        return self.place / "project"

    @property
    def home(self) -> Path:
        """The caller's home."""
        return self.place / "home"

    def make(self) -> None:
        """Lay everything out and lock the project."""
        for folder in (self.project, self.home / ".ssh", self.place / "cache", self.place / "outside"):
            folder.mkdir(parents=True)
        (self.place / "pypm").write_text("import sys\nfrom pypm.launch import main\n\nsys.exit(main())\n")
        (self.home / ".ssh" / "id_secret").write_text(self.token)
        (self.place / "outside" / "secret").write_text(self.token)
        (self.project / "pyproject.toml").write_text(_PROJECT)
        (self.project / "src").mkdir()
        built = self.place / "built"
        built.mkdir()
        (built / "pyproject.toml").write_text(_BUILT)
        (built / "backend.py").write_text(_BACKEND)
        for folder in (self.project, built):
            attack = folder / "attack"
            attack.mkdir()
            shutil.copy(HERE / "inside" / "attempt.py", attack)
            for path in (HERE / "attacks").glob("*.py"):
                shutil.copy(path, attack)
            subprocess.run(["git", "init", "-q", str(folder)], check=False, capture_output=True)
        if self.user:
            subprocess.run(["chown", "-R", f"{self.user}:", str(self.place)], check=True)
        for folder in (self.project, built):
            done = self.host([*self.pypm, "lock"], cwd=folder)
            if done.returncode:
                raise SystemExit(done.stdout.decode())
        done = self.host([*self.pypm, "sync"], cwd=self.project)
        if done.returncode:
            raise SystemExit(done.stdout.decode())

    def facts(self, **known: object) -> None:
        """Tell the attacker what an informed one would know."""
        for folder in ("project", "built"):
            path = self.place / folder / "attack" / "facts.json"
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
        """The program under attack."""
        return [*self.python, str(self.place / "pypm")]

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
        return subprocess.Popen(
            self.argv(command),
            cwd=cwd,
            env=self.environment(),
            start_new_session=True,
            **{**settings, **options},  # type: ignore[call-overload]
        )

    def host(self, command: Sequence[str], *, cwd: Path) -> subprocess.CompletedProcess[bytes]:
        """Do it and wait; a hang ends with everything that was started."""
        return self.finish(self.start(command, cwd=cwd))

    def finish(self, process: subprocess.Popen[bytes]) -> subprocess.CompletedProcess[bytes]:
        """Wait for the end, at most `LONGEST_SECONDS`."""
        try:
            printed, _ = process.communicate(timeout=LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed, _ = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, printed or b"")

    def inner(self, name: str) -> list[str]:
        """The command inside."""
        return ["python", "attack/attempt.py", name]

    def enter(self, way: str, name: str, flags: Sequence[str]) -> bytes:
        """Run an attack by one of the ways and return what it printed."""
        if way == "build":
            (self.place / "built" / "attack" / "name").write_text(name)
            return self.host([*self.pypm, "sync", "--locked"], cwd=self.place / "built").stdout
        if way == "shell":
            return self.type([*self.pypm, "shell", *flags], " ".join(self.inner(name)) + "; exit\n")
        extra = ["--profile", "hook"] if way == "hook" else []
        return self.host([*self.pypm, "run", *extra, *flags, *self.inner(name)], cwd=self.project).stdout

    def type(self, command: Sequence[str], text: str) -> bytes:
        """Start something on a terminal, type into it, and return what the terminal showed."""
        pid, master = pty.fork()
        if pid == 0:
            os.chdir(self.project)
            argv = self.argv(command)
            os.execvpe(argv[0], argv, self.environment())
        shown, typed, deadline = b"", False, time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < deadline:
            ready, _, _ = select.select([master], [], [], 0.5)
            if shown and not ready and not typed:
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

    def bubblewrap(self, program: Path, name: str) -> bytes:
        """The same attack under bubblewrap, with the flags that its users usually give."""
        prefix = Path(self.python[0]).resolve().parent.parent
        shown = [] if prefix == Path("/usr") else ["--ro-bind", str(prefix), str(prefix)]
        interpreter = str(Path(self.python[0]).resolve())
        links = [
            word
            for path in ("/bin", "/sbin", "/lib", "/lib64")
            if Path(path).is_symlink()
            for word in ("--symlink", os.readlink(path), path)
        ]
        command = [
            *(str(program), "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr", *links),
            *("--ro-bind", "/etc", "/etc", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", *shown),
            *("--bind", str(self.project), str(self.project), "--chdir", str(self.project)),
            *(interpreter, "attack/attempt.py", name),
        ]
        return self.host(command, cwd=self.project).stdout


def attacks(names: Sequence[str] = ()) -> list[ModuleType]:
    """Every attack, or those that are named. Raises: SystemExit for a name that is none."""
    inside = str(HERE / "inside")
    if inside not in sys.path:
        sys.path.append(inside)
    folder = HERE / "attacks"
    known = sorted(item.name for item in pkgutil.iter_modules([str(folder)]))
    if unknown := set(names) - set(known):
        raise SystemExit(f"there is no attack {', '.join(sorted(unknown))}; known are: {', '.join(known)}")
    return [importlib.import_module(f"integration.escape.attacks.{name}") for name in names or known]


def lets_in(attack: ModuleType, way: str) -> bool:
    """Whether an attack makes sense by this way; most do by each."""
    return way in getattr(attack, "WAYS", (*WAYS, "bwrap"))


def attempt(arena: Arena, attack: ModuleType, way: str, peer: Path | None = None) -> Result:
    """Let one attack try by one way: prepare, run, look at what it reported and at what it left behind."""
    name = attack.__name__.rpartition(".")[2]
    started = time.monotonic()
    saved = arena.place / "saved"
    if way == "bwrap":
        # What a weaker sandbox lets happen to the project must not spoil the next attack.
        subprocess.run(["cp", "-a", str(arena.project), str(saved)], check=True)
    if prepare := getattr(attack, "prepare", None):
        prepare(arena)
    try:
        if way == "bwrap":
            printed = arena.bubblewrap(peer or Path("bwrap"), name)
        elif outside := getattr(attack, "outside", None):
            printed = outside(arena, way)
        else:
            printed = arena.enter(way, name, getattr(attack, "FLAGS", ()))
        checks = read(printed)
    except (OSError, subprocess.SubprocessError) as error:
        checks = (Check(verdict="silent", name="the harness", detail=f"{type(error).__name__}: {error}"),)
    finally:
        found = [
            Check(verdict="escaped" if bad else "denied", name=what, detail="seen from outside")
            for what, bad in getattr(attack, "afterwards", lambda _: [])(arena)
        ]
        if way == "bwrap":
            shutil.rmtree(arena.project)
            saved.rename(arena.project)
    checks = (*checks, *found)
    if way != "bwrap":
        checks = tuple(_expected(name, check, landlock=arena.landlock) for check in checks)
    return Result(attack=name, rung=way, checks=checks, seconds=time.monotonic() - started)


def _expected(attack: str, check: Check, *, landlock: bool) -> Check:
    """The check, told with the reason where the rung is known to give less."""
    if check.verdict not in ("escaped", "broken", "silent"):
        return check
    if landlock:
        reason = less.reason(attack, check.name, as_root=os.geteuid() == 0)
    else:
        reason = less.known(attack, check.name)
    return check if reason is None else replace(check, verdict="less", detail=reason)


def read(printed: bytes) -> tuple[Check, ...]:
    """The checks in an output; one that does not reach its end says so with what it showed last."""
    found = [tuple(part.decode() for part in match) for match in _LINE.findall(printed)]
    checks = [Check(verdict=v, name=n, detail=d) for v, n, d in found if v != "done"]
    if not any(verdict == "done" for verdict, _, _ in found):
        tail = " ".join(printed.decode("utf-8", "replace").split())[-200:]
        checks.append(Check(verdict="silent", name="came to its end", detail=tail))
    return tuple(checks)

"""Harm at every system call that changes something: counted in an untouched run, then hit one after another.

Most calls are turns of a loop: they link the next file of a wheel, or write the next block. So the first and
the last call of each kind are hit, or every single one where there are hours for it.
"""

from __future__ import annotations

import re
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from integration.faults.arena import Done, Program, finish, prepare, require
from integration.faults.snapshot import Snapshot, difference, snapshot, trees, unfinished
from integration.faults.table import Row
from integration.faults.tracing import Harm, Tracer
from pypm.files import remove_tree
from tests.support.index_server import Archive

_BACKEND = """
import base64, hashlib, os, zipfile
INFO = "tiny-0.dist-info"

def _write(folder, files):
    files = {
        **files,
        f"{INFO}/METADATA": "Metadata-Version: 2.1\\nName: tiny\\nVersion: 0\\n",
        f"{INFO}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    rows = [f"{path},sha256={_hash(text)},{len(text)}\\n" for path, text in files.items()]
    files[f"{INFO}/RECORD"] = "".join([*rows, f"{INFO}/RECORD,,\\n"])
    with zipfile.ZipFile(f"{folder}/tiny-0-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), text)
    return "tiny-0-py3-none-any.whl"

def _hash(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()

def build_wheel(folder, config_settings=None, metadata_directory=None):
    return _write(folder, {"tiny.py": "x = 1\\n"})

def build_editable(folder, config_settings=None, metadata_directory=None):
    return _write(folder, {"tiny.pth": os.getcwd() + "\\n", "tiny.py": "x = 1\\n"})
"""
_BUILD_SYSTEM = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One command that is hit, and what has to be right afterwards."""

    name: str
    template: str
    """The state that it begins with."""
    words: tuple[str, ...]
    follow: tuple[str, ...]
    """The next command."""
    writes_lock: bool = False


_CONTENT = re.compile(r"(/site-packages|/prefix|/staging/[^/ ]+)/\S*")
"""Below these lie the files of wheels."""
_NAMES = re.compile(
    r"(?<=/)[0-9a-f]{2}(?=/|$)"  # the first two digits of a hash, as a folder
    r"|[0-9a-f]{6,}"
    r"|(?<=/)[\w.]+-[^/]+\.(?:whl|tar\.gz|dist-info)"
    r"|(?<=/)\.tmp\w+"  # as uv names what it is about to rename
    r"|[0-9]+"
)
"""What tells one wheel, answer or unfinished file from the next."""
_GOLDEN_MEAN = 0.6180339887498949


class Boundaries:
    """Trials of one program; its home is restored from a template before each."""

    def __init__(self, program: Program, tracer: Tracer, pyproject: str, archives: list[Archive]) -> None:
        self.program = program
        self._tracer = tracer
        self._pyproject = pyproject
        self._archives = archives
        self._is_ours = program.name == "pypm"
        self._locks: list[bytes] = []
        self._environments: list[Snapshot] = []
        """The old one and the new one."""
        self._trees: Snapshot = {}
        self._make_templates()
        self.phases = {phase.name: phase for phase in self._phases()}

    def _phases(self) -> Iterator[Phase]:
        program = self.program
        sync = (*program.sync, *program.extra)
        if program.lock is not None:
            yield Phase(
                name="lock", template="outdated", words=program.lock, follow=program.lock, writes_lock=True
            )
        yield Phase(name="sync, empty cache", template="locked", words=sync, follow=sync)
        yield Phase(name="sync, another .venv", template="other", words=sync, follow=sync)
        if self._is_ours:
            run = ("run", "--frozen", *program.extra, "python", "-c", "import a, b.deep.er, e, tiny")
            yield Phase(name="run", template="full", words=run, follow=run)
            repair = ("verify", *program.extra, "--repair")
            yield Phase(name="verify --repair", template="damaged", words=repair, follow=repair)
            yield Phase(
                name="cache prune", template="full", words=("cache", "prune", "--days", "0"), follow=sync
            )
            yield Phase(name="cache clean", template="full", words=("cache", "clean"), follow=sync)

    # Templates -------------------------------------------------------------------------------------------

    def _make_templates(self) -> None:
        program = self.program
        pyproject = self._pyproject
        if self._is_ours:
            pyproject = pyproject.replace("[tool.pypm]\npackage = false\n", _BUILD_SYSTEM)
        if program.lock is not None:
            self._prepare(pyproject.replace('"a", ', ""))
            self._locks.append(self._lock())
            remove_tree(program.cache)
            (program.project / "pyproject.toml").write_text(pyproject, encoding="utf-8")
            self._keep("outdated")
        self._prepare(pyproject)
        self._locks.append(self._lock())
        remove_tree(program.cache)
        self._keep("locked")
        require(program.run(*program.sync))
        self._environments.append(self._environment())
        self._keep("other")
        require(program.run(*program.sync, *program.extra))
        self._environments.append(self._environment())
        self._trees = trees(program.cache)
        self._damage()
        self._keep("damaged")
        self._restore("other")
        require(program.run(*program.sync, *program.extra))
        if self._is_ours:
            remove_tree(program.venv)
        self._keep("full")

    def _prepare(self, pyproject: str) -> None:
        program = self.program
        remove_tree(program.home)
        program.project.mkdir(parents=True)
        (program.project / "backend.py").write_text(_BACKEND, encoding="utf-8")
        folder = program.project.rename(program.home.with_name("kept"))
        prepare(program, pyproject, self._archives)
        shutil.copy(folder / "backend.py", program.project)
        remove_tree(folder)

    def _damage(self) -> None:
        """Write into a file of `.venv`: a hard link takes it to the store."""
        found = next(self.program.venv.glob("lib/*/site-packages/a/__init__.py"))
        mode = stat.S_IMODE(found.stat().st_mode)
        found.chmod(0o644)
        with found.open("ab") as stream:
            stream.write(b"# edited\n")
        found.chmod(mode)

    def _template(self, name: str) -> Path:
        return self.program.home.with_name(f"{self.program.home.name}-{name}")

    def _keep(self, name: str) -> None:
        remove_tree(self._template(name))
        shutil.copytree(self.program.home, self._template(name), symlinks=True)

    def _restore(self, name: str) -> None:
        remove_tree(self.program.home)
        shutil.copytree(self._template(name), self.program.home, symlinks=True)

    # Trials ----------------------------------------------------------------------------------------------

    def run(self, phase: Phase, harm: Harm, *, most: int, every: bool, expired: Callable[[], bool]) -> Row:
        """Hit the command at calls of each kind, or at `every` one; `most` at most, until time is up."""
        calls = self._count(phase, harm)
        chosen = list(range(1, len(calls) + 1)) if every else representatives(calls)
        chosen = chosen[:most]
        wrong: list[str] = []
        halfway = done = 0
        for at in chosen:
            if done and expired():
                break
            done += 1
            found, was_halfway = self._trial(phase, harm, at)
            halfway += was_halfway
            if found or (was_halfway and self._is_ours):
                what = "; ".join(found) or "half-made"
                wrong.append(f"{phase.name}, {harm}, call {at} `{calls[at - 1]}`: {what}")
        return Row(
            fault=f"{harm}: {phase.name}",
            program=self.program.name,
            trials=done,
            wrong=tuple(wrong),
            halfway=halfway,
            note=_extent(calls, chosen[:done]),
        )

    def _count(self, phase: Phase, harm: Harm) -> tuple[str, ...]:
        self._restore(phase.template)
        done = self.program.run(*phase.words, via=self._via(harm, 0))
        # `verify --repair` has found something, and says so; everything else ends well.
        require(done)
        return self._tracer.traced().calls

    def _via(self, harm: Harm, at: int) -> tuple[str, ...]:
        return self._tracer.prefix((self.program.home,), harm, at)

    def _trial(self, phase: Phase, harm: Harm, at: int) -> tuple[list[str], bool]:
        program = self.program
        self._restore(phase.template)
        done = program.run(*phase.words, via=self._via(harm, at))
        hit = self._tracer.traced().calls
        wrong = []
        if harm.action == "error":
            wrong.append(self._judge_end(done))
        elif not hit and done.code != 0:
            wrong.append(f"not hit, {done.wrong}")
        halfway = self._is_halfway(phase)
        wrong.append(finish(program.launch(*phase.follow)).wrong)
        wrong += self._judge_state(phase)
        return [what for what in wrong if what], halfway

    def _judge_end(self, done: Done) -> str:
        """Say how a command that met an error ended otherwise than it should."""
        if done.code == 0 or not self._is_ours:
            return ""
        errors = [line for line in done.told.splitlines() if line.startswith("error: ")]
        if done.code != 1 or len(errors) != 1 or "Traceback" in done.told:
            return f"exit {done.code}, {len(errors)} errors: {' / '.join(done.told.splitlines()[-8:])}"
        return ""

    def _is_halfway(self, phase: Phase) -> bool:
        """Whether there is a lock or an environment that is neither the old one nor the new one."""
        if self._lock() not in self._locks:
            return True
        found = self._environment()
        if phase.template == "damaged":
            return bool(found) and found.keys() not in [made.keys() for made in self._environments]
        return bool(found) and found not in self._environments and not self._is_empty_of_pip(found)

    def _is_empty_of_pip(self, found: Snapshot) -> bool:
        return self.program.name == "pip" and not any(".dist-info" in name for name in found)

    def _judge_state(self, phase: Phase) -> Iterator[str]:
        program = self.program
        if phase.writes_lock:
            if self._lock() != self._locks[-1]:
                yield "the lock is another one"
        elif phase.name != "run":
            yield difference(self._environment(), self._environments[-1])
        if not self._is_ours:
            return
        if not phase.writes_lock:
            yield difference(trees(program.cache), self._trees)
        if unfinished(program.cache, program.project):
            yield program.run("cache", "prune").wrong
        yield from (f"left behind: {name}" for name in unfinished(program.cache, program.project))

    def _environment(self) -> Snapshot:
        return snapshot(self.program.venv, bytecode=self._is_ours)

    def _lock(self) -> bytes:
        name = {"pypm": "pypm.lock", "uv": "uv.lock", "pip": "locked.txt"}[self.program.name]
        path = self.program.project / name
        return path.read_bytes() if path.exists() else b""


def _extent(calls: Sequence[str], tried: Sequence[int]) -> str:
    """Say how many of the calls were tried, and of their kinds."""
    if len(tried) == len(calls):
        return "every call"
    kinds = {_kind(call) for call in calls}
    met = {_kind(calls[number - 1]) for number in tried}
    share = f"all {len(kinds)}" if met == kinds else f"{len(met)} of {len(kinds)}"
    return f"{share} kinds of {len(calls)} calls"


def _kind(call: str) -> str:
    """Return what a call does, without the name of the one thing that it does it to.

    The calls of a loop over files or packages differ in names alone; between two of them nothing is decided.
    """
    return _NAMES.sub("*", _CONTENT.sub(r"\1/*", call))


def representatives(calls: Sequence[str]) -> list[int]:
    """Return the number, from 1, of the first and of the last call of each kind.

    In an order that is scattered over the whole run: who stops early has not tried the beginning alone.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, call in enumerate(calls, 1):
        first.setdefault(_kind(call), number)
        last[_kind(call)] = number
    firsts = sorted(first.values())
    return [*_scattered(firsts), *_scattered(sorted(set(last.values()) - set(firsts)))]


def _scattered(numbers: Sequence[int]) -> list[int]:
    """Return the numbers in an order whose every beginning lies evenly over all: steps by the golden mean."""
    count = len(numbers)
    order = sorted(range(count), key=lambda position: (position * _GOLDEN_MEAN) % 1)
    return [numbers[position] for position in order]

"""Real conditions of real machines: full and read-only disks, devices, clocks, names, users, open files."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from integration.faults.arena import Done, Program, prepare, require
from integration.faults.snapshot import Snapshot, difference, snapshot
from integration.faults.table import Row
from pypm.files import remove_tree
from tests.support.index_server import Archive

_CLOCK = Path(__file__).with_name("clock.c")
_YEAR_SECONDS = 365 * 86_400
_NOBODY = "nobody"


class Conditions:
    """Trials of one program with small wheels; each gives a row."""

    def __init__(self, program: Program, pyproject: str, archives: list[Archive]) -> None:
        self._program = program
        self._pyproject = pyproject
        self._archives = archives
        self._is_ours = program.name == "pypm"
        self._clean: Snapshot = {}

    def rows(self) -> Iterator[Row]:
        """Run all that this machine allows."""
        program = prepare(self._program, self._pyproject, self._archives)
        require(self._sync(program))
        self._clean = self._environment(program)
        yield self.edited_environment()
        yield self.edited_lock()
        yield self.clock_set_back()
        yield self.odd_names()
        yield self.few_open_files()
        if os.geteuid() != 0:
            return  # What follows mounts file systems and changes users.
        yield self.full_disk()
        yield self.read_only_cache(is_full=True)
        yield self.read_only_cache(is_full=False)
        yield self.other_device()
        yield self.ordinary_user()

    def _sync(self, program: Program, via: tuple[str, ...] = ()) -> Done:
        return program.run(*program.sync, *program.extra, via=via)

    def _environment(self, program: Program) -> Snapshot:
        return snapshot(program.venv, bytecode=self._is_ours)

    def _fresh(self) -> Program:
        return prepare(self._program, self._pyproject, self._archives)

    def _without_environment(self, program: Program) -> None:
        if program.name == "pip":
            self._fresh()
        else:
            remove_tree(program.venv)

    def _row(self, fault: str, trials: int, wrong: list[str], note: str = "") -> Row:
        found = tuple(told for told in wrong if told)
        return Row(fault=fault, program=self._program.name, trials=trials, wrong=found, note=note)

    def _judge_refusal(self, done: Done, code: int = 1) -> str:
        """Say how an error was told otherwise than it should be; peers may tell theirs as they like."""
        if not self._is_ours:
            return "" if done.code else "no error"
        errors = [line for line in done.told.splitlines() if line.startswith("error: ")]
        if (done.code, len(errors)) != (code, 1) or "Traceback" in done.told:
            return f"exit {done.code}, {len(errors)} errors: {' / '.join(done.told.splitlines()[-6:])}"
        return ""

    # Files that somebody changed -------------------------------------------------------------------------

    def edited_environment(self) -> Row:
        """Edit a file of `.venv` in place, then make a new environment from the same cache."""
        fault = "a file of `.venv` edited in place, then another project synced"
        program = self._fresh()
        require(self._sync(program))
        found = next(program.venv.glob("lib/*/site-packages/a/__init__.py"))
        mode = stat.S_IMODE(found.stat().st_mode)
        found.chmod(0o644)
        with found.open("ab") as stream:
            stream.write(b"edited = True\n")
        found.chmod(mode)
        self._without_environment(program)
        done = self._sync(program)
        if done.code != 0:
            note = "refused, then repaired"
            wrong = [self._judge_refusal(done, 3)]
            if self._is_ours:
                program.run("verify", *program.extra, "--repair")
            done = self._sync(program)
        else:
            wrong, note = [], ""
        wrong += [done.wrong]
        poisoned = difference(self._environment(program), self._clean)
        wrong.append(f"the edit went on to the next environment: {poisoned}" if poisoned else "")
        return self._row(fault, 1, wrong, note)

    def edited_lock(self) -> Row:
        """Swap a wheel of the lock for another one that the index has, hash and all."""
        fault = "the lock edited: a wheel's file and hash swapped for another's"
        if self._program.lock is None:
            return self._row(fault, 0, [], "no lock")
        program = self._fresh()
        path = program.project / ("pypm.lock" if self._is_ours else "uv.lock")
        one, other = self._archives[0], self._archives[1]
        text = path.read_text(encoding="utf-8")
        text = text.replace(one.sha256, other.sha256).replace(one.filename, other.filename)
        path.write_text(text, encoding="utf-8")
        done = self._sync(program)
        wrong = [self._judge_refusal(done, 3)]
        if program.venv.exists() and any(program.venv.glob("lib/*/site-packages/b")):
            wrong.append("something of it was installed")
        return self._row(fault, 1, wrong, "refused" if done.code else "")

    # The machine -----------------------------------------------------------------------------------------

    def clock_set_back(self) -> Row:
        """Fill the cache a year ahead, then work in the present, where all its files are from the future."""
        library = self._program.home.with_name("clock.so")
        subprocess.run(["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", library, _CLOCK], check=True)
        program = self._fresh()
        ahead = replace(
            program,
            environ={**program.environ, "LD_PRELOAD": str(library), "PYPM_CLOCK_SECONDS": str(_YEAR_SECONDS)},
        )
        wrong = [self._sync(ahead).wrong]
        _move_into_the_future(program.cache)
        if self._is_ours:
            wrong.append(program.run("lock").wrong)
            wrong.append(program.run("lock", "--refresh").wrong)
        wrong.append(self._sync(program).wrong)
        self._without_environment(program)
        wrong += [self._sync(program).wrong, difference(self._environment(program), self._clean)]
        if self._is_ours:
            wrong.append(program.run("cache", "prune").wrong)
            wrong.append(self._sync(program).wrong)
        return self._row("the clock set back by a year", 1, wrong)

    def odd_names(self) -> Row:
        """Work in folders whose names are long, have spaces, or are in no code page."""
        names = (
            "with two  spaces",
            "日本語 ümläut ☃",
            "x" * 200,
            'quote\'d "and" $HOME;',
            "-dash",
            "new\nline",
        )
        wrong = []
        for name in names:
            program = prepare(self._program.at(self._program.home / name), self._pyproject, self._archives)
            done = self._sync(program)
            told = done.wrong or self._imports(program)
            wrong.append(f"{name!r}: {told}" if told else "")
            remove_tree(program.home)
        return self._row(
            "folders with spaces, unicode, 200 characters, quotes, a line feed", len(names), wrong
        )

    def _imports(self, program: Program) -> str:
        call = [program.venv / "bin" / "python", "-c", "import a, b.deep.er, e"]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        try:
            script = subprocess.run([program.venv / "bin" / "a"], capture_output=True, text=True, check=False)
        except OSError as error:
            return f"its programs do not start: {error.strerror}"
        if done.returncode or "A" in script.stdout:
            return done.stderr[-200:]
        return (
            ""
            if script.returncode in (0, 1) and "bad interpreter" not in script.stderr
            else script.stderr[-200:]
        )

    def few_open_files(self) -> Row:
        """Allow fewer and fewer open files, down to what no Python starts with."""
        limits = (64, 40, 32, 28, 24, 20, 18, 16, 14, 12, 10, 8)
        program = self._fresh()
        wrong = []
        for limit in limits:
            remove_tree(program.cache)
            self._without_environment(program)
            done = self._sync(program, via=("prlimit", f"--nofile={limit}:{limit}", "--"))
            if done.code != 0:
                wrong.append(self._told(f"{limit} files", self._judge_refusal(done)))
            done = self._sync(program)
            wrong.append(done.wrong or difference(self._environment(program), self._clean))
        return self._row("a limit of open files, from 64 down to 8", len(limits), wrong)

    @staticmethod
    def _told(where: str, what: str) -> str:
        return f"{where}: {what}" if what else ""

    # Disks -----------------------------------------------------------------------------------------------

    def full_disk(self) -> Row:
        """Give cache and project a disk that fills up at one point after another; then make room."""
        sizes_kib = (48, 96, 144, 192, 240, 288, 336, 400, 480, 640)
        wrong = []
        failed = 0
        for size in sizes_kib:
            program = prepare(self._program, self._pyproject, self._archives)
            remove_tree(program.cache)
            with mounted(program.cache, "tmpfs", f"size={size}k,mode=700"):
                done = self._sync(program)
                failed += done.code != 0
                if done.code != 0:
                    wrong.append(self._told(f"{size} KiB", self._judge_refusal(done)))
                subprocess.run(["mount", "-o", "remount,size=64m", program.cache], check=True)
                done = self._sync(program)
                wrong.append(done.wrong or difference(self._environment(program), self._clean))
        return self._row("a full disk: a small tmpfs", len(sizes_kib), wrong, f"{failed} ran out")

    def read_only_cache(self, *, is_full: bool) -> Row:
        """Mount the cache read-only."""
        program = self._fresh()
        if is_full:
            require(self._sync(program))
            self._without_environment(program)
        else:
            remove_tree(program.cache)
            program.cache.mkdir()
        wrong = []
        with bound(program.cache, "ro"):
            done = self._sync(program)
            if is_full:
                wrong += [done.wrong or difference(self._environment(program), self._clean)]
                if self._is_ours:
                    words = ("run", "--frozen", *program.extra, "python", "-c", "import a")
                    wrong += [program.run(*words).wrong, program.run(*words).wrong]
            elif self._is_ours:
                wrong.append(self._judge_refusal(done))
        done = self._sync(program)
        wrong.append(done.wrong or difference(self._environment(program), self._clean))
        return self._row(f"a read-only cache, {'full' if is_full else 'empty'}", 1, wrong)

    def other_device(self) -> Row:
        """Put the cache on another device than the project: no hard links."""
        program = self._fresh()
        remove_tree(program.cache)
        with mounted(program.cache, "tmpfs", "size=64m,mode=700"):
            done = self._sync(program)
            wrong = [done.wrong or difference(self._environment(program), self._clean)]
        return self._row("the cache on another device", 1, wrong)

    def ordinary_user(self) -> Row:
        """Work as somebody without any rights."""
        fault = "as an ordinary user"
        user = pwd.getpwnam(_NOBODY)
        program = self._fresh()
        remove_tree(program.cache)
        for path in (program.home, program.project, *program.project.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
        # The trial's own folders were made for us alone.
        for folder in (program.home, *program.home.parents[:3]):
            folder.chmod(0o755)
        options: dict[str, object] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        program = replace(program, options=options, environ={**program.environ, "HOME": str(program.home)})
        try:
            require(program.run("--version"))
        except OSError:
            return self._row(fault, 0, [], f"`{_NOBODY}` cannot execute this checkout's interpreter")
        done = self._sync(program)
        wrong = [done.wrong or difference(self._environment(program), self._clean)]
        if self._is_ours:
            self._without_environment(program)
            program.project.chmod(0o555)
            wrong.append(self._judge_refusal(self._sync(program)))
            program.project.chmod(0o755)
            program.cache.chmod(0o555)
            wrong.append(self._told("cache of another one", self._sync(program).wrong))
            program.cache.chmod(0o755)
        return self._row(fault, 1, wrong)


def _move_into_the_future(cache: Path) -> None:
    """Give the cache's files the times that the clock of then had shown; those of trees are fixed ones."""
    for folder, folders, files in os.walk(cache):
        if Path(folder).name == "store-v1":
            folders.clear()
        for name in files:
            path = Path(folder, name)
            status = path.lstat()
            later = status.st_mtime_ns + _YEAR_SECONDS * 10**9
            os.utime(path, ns=(later, later), follow_symlinks=False)


@contextlib.contextmanager
def mounted(place: Path, kind: str, options: str) -> Iterator[None]:
    """Mount a file system at `place` for the block."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", kind, "-o", options, kind, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@contextlib.contextmanager
def bound(place: Path, options: str) -> Iterator[None]:
    """Mount a folder over itself with other options for the block."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", place, place], check=True)
    try:
        subprocess.run(["mount", "-o", f"remount,bind,{options}", place], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)

"""What somebody put into pypm's cache, and an environment that is exchanged while a command runs in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from integration.faults.arena import Done, Program, finish, prepare, require
from integration.faults.conditions import mounted
from integration.faults.snapshot import Snapshot, difference, snapshot, trees
from integration.faults.table import Row
from pypm.files import remove_tree
from tests.support.index_server import Archive

_RUNS = 3
_ENDED = 137
"""128 and SIGKILL: how a run ends whose protection was lost."""
_READS_FOR_LONG = """
import importlib, sys, time
import a
open("marks/begun", "w").close()
end = time.monotonic() + 60
while not __import__("os").path.exists("marks/over"):
    assert time.monotonic() < end, "nobody said that it is over"
    for name in ("b", "c", "e", "b.deep.er"):
        sys.modules.pop(name, None)
        importlib.import_module(name)
    assert open(a.__file__).read() == "name = 'a'\\n"
    time.sleep(0.01)
"""


class Poison:
    """Trials of pypm with small wheels; each gives a row."""

    def __init__(self, program: Program, pyproject: str, archives: list[Archive]) -> None:
        self._program = program
        self._pyproject = pyproject
        self._archives = archives
        self._clean: Snapshot = {}
        self._clean_trees: Snapshot = {}

    def rows(self) -> Iterator[Row]:
        """Run all that this machine allows."""
        self._fresh()
        self._clean = snapshot(self._program.venv)
        self._clean_trees = trees(self._program.cache)
        yield self.poisoned_store()
        yield self.exchanged_while_it_runs()
        if os.geteuid() == 0:
            yield self.full_disk()

    def _fresh(self) -> None:
        prepare(self._program, self._pyproject, self._archives)
        require(self._program.run(*self._program.sync, *self._program.extra))

    def _tree(self, name: str) -> Path:
        """Return the stored tree of a wheel."""
        found = self._program.cache.glob(f"store-v1/*/*/*/**/{name}/__init__.py")
        return next(tree for path in found for tree in path.parents if tree.parent.parent.name == "store-v1")

    # Bytes that are not what their names say -------------------------------------------------------------

    def poisoned_store(self) -> Row:
        """Exchange what lies under right names: a sync or `verify` has to say so, and a repair to mend it."""
        cases: tuple[tuple[str, Callable[[], None]], ...] = (
            ("a file of the same size and time", self._exchange_file),
            ("another wheel's tree", self._exchange_tree),
            ("another wheel's manifest", self._exchange_manifest),
            ("a module more", self._add_module),
            ("another archive, no tree", self._exchange_archive),
        )
        wrong = []
        by_sync = 0
        for name, exchange in cases:
            self._fresh()
            remove_tree(self._program.venv)
            exchange()
            done = self._program.run(*self._program.sync, *self._program.extra)
            is_clean = done.code == 0 and not difference(snapshot(self._program.venv), self._clean)
            by_sync += done.code != 0 or is_clean
            found = self._program.run("verify", *self._program.extra)
            if done.code == 0 and not is_clean and found.code != 3:
                wrong.append(f"{name}: nobody noticed: {found.told[-300:]}")
            repaired = self._program.run("verify", *self._program.extra, "--repair")
            after = self._program.run(*self._program.sync, *self._program.extra)
            told = repaired.wrong or after.wrong or difference(snapshot(self._program.venv), self._clean)
            told = told or difference(trees(self._program.cache), self._clean_trees)
            wrong.append(f"{name}, repaired: {told}" if told else "")
        return Row(
            fault="the cache holds other bytes under right names",
            program=self._program.name,
            trials=len(cases),
            wrong=tuple(told for told in wrong if told),
            note=f"{by_sync} noticed by the sync, all by `verify`",
        )

    def _exchange_file(self) -> None:
        path = next(self._tree("a").rglob("a/__init__.py"))
        status = path.stat()
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(b"'a'", b"'x'"))
        path.chmod(0o444)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _exchange_tree(self) -> None:
        one, other = self._tree("a"), self._tree("b")
        remove_tree(one)
        shutil.copytree(other, one, symlinks=True)

    def _exchange_manifest(self) -> None:
        one, other = self._tree("a"), self._tree("b")
        one.chmod(0o755)
        (one / "manifest").unlink()
        shutil.copy2(other / "manifest", one / "manifest")

    def _add_module(self) -> None:
        folder = next(self._tree("a").rglob("a/__init__.py")).parent
        folder.chmod(0o755)
        (folder / "more.py").write_text("x = 1\n", encoding="utf-8")

    def _exchange_archive(self) -> None:
        remove_tree(self._tree("a"))
        one = next(self._program.cache.glob("wheels/*/*/a-1.0-*.whl"))
        other = next(self._program.cache.glob("wheels/*/*/b-1.0-*.whl"))
        one.chmod(0o644)
        shutil.copyfile(other, one)

    # Beside each other -----------------------------------------------------------------------------------

    def exchanged_while_it_runs(self) -> Row:
        """Sync other environments over the one that a command runs in, and remove what lies on the disk.

        The run may write in the project, and what is new there could be its own work: so it has to be ended
        with one error, and never to go on with half an environment; see
        `docs/design/0016-replaced-from-outside.md`.
        """
        wrong = []
        for _ in range(_RUNS):
            done = self._run_beside_syncs(wrong)
            errors = [line for line in done.told.splitlines() if line.startswith("error: ")]
            if done.code != _ENDED or len(errors) != 1 or "was replaced from outside" not in errors[0]:
                wrong.append(f"not ended as it should be: exit {done.code}: {done.told[-300:]}")
            wrong.append(difference(snapshot(self._program.venv), self._clean))
        return Row(
            fault="`.venv` exchanged and removed by `sync` while a `run` imports from it",
            program=self._program.name,
            trials=_RUNS,
            wrong=tuple(told for told in wrong if told),
            note="the run is ended and says why",
        )

    def _run_beside_syncs(self, wrong: list[str]) -> Done:
        self._fresh()
        program = self._program
        marks = program.project / "marks"
        marks.mkdir()
        words = ("run", "--frozen", *program.extra, "python", "-c", _READS_FOR_LONG)
        running = program.launch(*words)
        waiting = threading.Event()
        while not (marks / "begun").exists() and running.poll() is None:
            waiting.wait(0.01)
        for extra in ((), program.extra):
            wrong.append(program.run(*program.sync, *extra).wrong)
            remove_tree(program.venv)
        wrong.append(program.run(*program.sync, *program.extra).wrong)
        (marks / "over").touch()
        return finish(running)

    # Disks -----------------------------------------------------------------------------------------------

    def full_disk(self) -> Row:
        """Let `lock` and `verify --repair` run out of room at one point after another; then make room."""
        program = self._program
        sizes_kib = (16, 32, 64, 128, 224, 320)
        wrong = []
        failed = 0
        for words, size in (
            (words, size) for words in (("lock", "--refresh"), _REPAIR) for size in sizes_kib
        ):
            prepare(program, self._pyproject, self._archives)
            lock = (program.project / "pypm.lock").read_bytes()
            remove_tree(program.cache)
            with mounted(program.cache, "tmpfs", f"size={size}k,mode=755"):
                done = program.run(*words)
                failed += done.code != 0
                if done.code not in (0, 1, 3) or "Traceback" in done.told:
                    wrong.append(f"{words[0]}, {size} KiB: exit {done.code}: {done.told[-300:]}")
                if (program.project / "pypm.lock").read_bytes() != lock:
                    wrong.append(f"{words[0]}, {size} KiB: the lock is another one")
                subprocess.run(["mount", "-o", "remount,size=64m", program.cache], check=True)
                done = program.run(*words)
                after = program.run(*program.sync, *program.extra)
                told = done.wrong or after.wrong or difference(snapshot(program.venv), self._clean)
                wrong.append(f"{words[0]}, {size} KiB, then with room: {told}" if told else "")
        return Row(
            fault="a full disk: `lock`, `verify --repair`",
            program=program.name,
            trials=2 * len(sizes_kib),
            wrong=tuple(told for told in wrong if told),
            note=f"{failed} ran out",
        )


_REPAIR = ("verify", "--repair")

"""The download of a heavy wheel, cut again and again: the right bytes at last, next to none fetched twice."""

from __future__ import annotations

import io
import random
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace

from integration.faults.arena import Done, Program, finish, prepare
from integration.faults.table import Row
from pypm.digest import sha256_file, sha256_hex
from pypm.files import remove_tree
from tests.support.index_server import Archive, Fault, IndexServer, make_wheel

HEAVY_BYTES = 220 << 20
CUTS = 20
MOST_TWICE = 0.05
"""Share of the wheel that may be fetched a second time over all cuts together."""
_PACE = Fault(drip_seconds=0.005, drip_bytes=128 << 10)
"""Some twenty megabytes a second: what lies in buffers when a process is killed stays small."""
_SLOW_PACE = replace(_PACE, drip_seconds=0.02)
"""For kills: what is sent to a process while it dies counts as fetched; dying takes some 20 milliseconds."""
_PROJECT = """\
[project]
name = "heavy-project"
version = "0"
requires-python = ">=3.10"
dependencies = ["heavy"]
[tool.pypm]
package = false
[tool.uv]
package = false
"""


def heavy_wheel(size_bytes: int = HEAVY_BYTES) -> Archive:
    """Return a wheel of about this size, of one file that cannot be compressed."""
    content = random.Random(11).randbytes(size_bytes)
    return make_wheel("heavy", "1.0", files={"heavy/__init__.py": b"", "heavy/data.bin": content})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One way of the server, or of the process, to fail."""

    name: str
    prepare: Callable[[Resuming], None]
    code: int = 0
    """How the last command has to end: 3 where the server's file is another one for good."""


class Resuming:
    """Trials of one program with one wheel."""

    def __init__(self, program: Program, server: IndexServer, wheel: Archive, *, seed: int) -> None:
        self.server = server
        self.wheel = wheel
        self.chance = random.Random(seed)
        self._program = program
        self._is_ours = program.name == "pypm"
        with zipfile.ZipFile(io.BytesIO(wheel.content)) as opened:
            self._data_sha256 = sha256_hex(opened.read("heavy/data.bin"))
        server.remove("heavy")
        server.add("heavy", wheel)
        prepare(program, _PROJECT, [wheel])
        self.path = f"/{server.file_path(wheel)}"

    def resets(self, cuts: int = CUTS) -> Row:
        """Cut the connection at random points of one download; the program itself goes on or gives up."""
        self._begin()
        total = len(self.wheel.content)
        points = sorted(self.chance.randrange(1, total) for _ in range(cuts))
        for start, end in zip([0, *points], points, strict=False):
            cut = replace(_PACE, truncate_at=max(1, end - start), resets=bool(self.chance.getrandbits(1)))
            self.server.fault(self.path, cut, times=1)
        self.server.fault(self.path, _PACE)
        commands = 1
        done = self._sync()
        while done.code != 0 and commands <= cuts:
            commands += 1
            done = self._sync()
        return self._row("heavy download, connection cut at random points", cuts, done, commands=commands)

    def kills(self, cuts: int = CUTS) -> Row:
        """Kill the program at random points of the download; the next one goes on."""
        self._begin()
        self.server.fault(self.path, _SLOW_PACE)
        for _ in range(cuts):
            before = self.server.sent_bytes[self.path]
            goal = before + self.chance.randrange(1 << 20, 2 * len(self.wheel.content) // cuts)
            process = self._program.start(extra=False)
            while process.poll() is None and self.server.sent_bytes[self.path] < goal:
                time.sleep(0.002)
            process.kill()
            process.communicate()
        return self._row("heavy download, the program killed at random points", cuts, self._sync())

    def odd_servers(self) -> Row:
        """Resume, once each, from servers that do not play along."""
        wrong = []
        cases = (
            _Case(name="without ranges", prepare=Resuming._ignore_ranges),
            _Case(name="416", prepare=Resuming._refuse_ranges),
            _Case(name="lying Content-Range", prepare=Resuming._lie_about_ranges),
            _Case(name="another file since", prepare=Resuming._change_file, code=3),
        )
        for case in cases:
            self._begin()
            self.server.fault(self.path, replace(_PACE, truncate_at=len(self.wheel.content) // 3), times=1)
            self.server.fault(self.path, Fault(drop=True))
            if self._sync().code == 0:
                wrong.append(f"{case.name}: not cut off at all")
            self.server.heal()
            case.prepare(self)
            done = self._sync()
            self.server.heal()
            self.server.remove("heavy")
            self.server.add("heavy", self.wheel)
            if done.code != case.code:
                wrong.append(f"{case.name}: exit {done.code} instead of {case.code}: {done.told[-300:]}")
            after = self._sync()
            told = after.wrong or self._wrong_bytes()
            if told:
                wrong.append(f"{case.name}, then mended: {told}")
        return Row(
            fault="resume from a server without ranges, with 416, a lying range, another file",
            program=self._program.name,
            trials=len(cases),
            wrong=tuple(wrong),
        )

    # Servers ---------------------------------------------------------------------------------------------

    def _ignore_ranges(self) -> None:
        self.server.fault(self.path, Fault(ignore_range=True))

    def _refuse_ranges(self) -> None:
        self.server.fault(
            self.path, Fault(status_code=416, body=b"", headers={"content-range": "bytes */1"}), times=1
        )

    def _lie_about_ranges(self) -> None:
        total = len(self.wheel.content)
        self.server.fault(
            self.path, Fault(headers={"content-range": f"bytes 5-{total - 1}/{total}"}), times=1
        )

    def _change_file(self) -> None:
        content = bytearray(self.wheel.content)
        content[len(content) // 2] ^= 0xFF
        self.server.remove("heavy")
        self.server.add("heavy", replace(self.wheel, content=bytes(content)))

    # Trials ----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self.server.heal()
        self.server.sent_bytes.clear()
        remove_tree(self._program.cache)
        if self._program.name != "pip":
            remove_tree(self._program.venv)
        else:
            prepare(self._program, _PROJECT, [self.wheel])

    def _sync(self) -> Done:
        return finish(self._program.start(extra=False))

    def _row(self, fault: str, cuts: int, done: Done, *, commands: int = 1) -> Row:
        sent = self.server.sent_bytes[self.path]
        self.server.heal()
        twice = max(0, sent - len(self.wheel.content)) / len(self.wheel.content)
        wrong = []
        if done.wrong:
            wrong.append(done.wrong)
        elif told := self._wrong_bytes():
            wrong.append(told)
        if self._is_ours and twice >= MOST_TWICE:
            wrong.append(f"{twice:.1%} was fetched twice")
        again = f", {commands} commands" if commands > 1 else ""
        return Row(
            fault=f"{fault}, {cuts} times",
            program=self._program.name,
            trials=cuts,
            wrong=tuple(wrong),
            note=f"{twice:.1%} fetched twice{again}",
        )

    def _wrong_bytes(self) -> str:
        found = next(self._program.venv.glob("lib/*/site-packages/heavy/data.bin"), None)
        if found is None:
            return "nothing is installed"
        return "" if sha256_file(found) == self._data_sha256 else "the installed bytes are wrong"

"""A kill or an error at one chosen system call of a program: the door to `tracer.c`."""

from __future__ import annotations

import errno
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("tracer.c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What happens at a call."""

    action: str
    """`group`: all processes are killed; `leader`: the first one alone; `error`: the call fails."""
    calls: str
    """Which calls are counted: `kill`, `mount`, `space`, `disk` or `files`; see `tracer.c`."""
    error: str = ""
    """`ENOSPC`, ...; with `error` only."""
    lasting: bool = False
    """All later calls of the class fail, too: a disk stays full."""

    def __str__(self) -> str:
        if self.calls == "mount":
            return "SIGKILL at a mount"
        if self.action != "error":
            return "SIGKILL" if self.action == "group" else "SIGKILL of the first process"
        return f"{self.error} {'from a call on' if self.lasting else 'of one call'}"


KILL = Harm(action="group", calls="kill")
KILL_LEADER = Harm(action="leader", calls="kill")
KILL_AT_MOUNT = Harm(action="group", calls="mount")
NO_SPACE = Harm(action="error", calls="space", error="ENOSPC", lasting=True)
NO_QUOTA = Harm(action="error", calls="space", error="EDQUOT", lasting=True)
BROKEN_DISK = Harm(action="error", calls="disk", error="EIO")
NO_FILES = Harm(action="error", calls="files", error="EMFILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """What the tracer saw."""

    calls: tuple[str, ...]
    """Of a count: every call, as `openat /path`. Of a harm: the one that was hit, or nothing."""
    count: int


class Tracer:
    """Compiles `tracer.c` and writes its command lines."""

    def __init__(self, folder: Path) -> None:
        self._program = folder / "tracer"
        self._report = folder / "tracer-report"
        subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-o", self._program, SOURCE], check=True)

    def prefix(self, roots: tuple[Path, ...], harm: Harm, at: int) -> tuple[str, ...]:
        """Return the words to put before a command; `at` 0 counts and does no harm."""
        number = getattr(errno, harm.error) if harm.error else 0
        return (
            str(self._program),
            str(self._report),
            ":".join(map(str, roots)),
            harm.calls,
            harm.action if at else "count",
            str(at),
            str(number),
            str(int(harm.lasting)),
            "--",
        )

    def traced(self) -> Traced:
        """Read what the last traced command did."""
        *calls, end = self._report.read_text(encoding="utf-8", errors="replace").splitlines()
        names = tuple(line.split(" ", 1)[1] for line in calls)
        return Traced(calls=names, count=int(end.split()[1]))


def missing() -> str | None:
    """Say why system calls cannot be traced here; None where they can."""
    if shutil.which("cc") is None:
        return "there is no C compiler"
    try:
        done = subprocess.run(
            ["cc", "-fsyntax-only", SOURCE], capture_output=True, text=True, check=False, timeout=60
        )
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no headers"])[-1]

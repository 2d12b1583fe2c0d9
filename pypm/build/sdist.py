"""Source distributions: unpacked in the sandbox, looked at with distrust, ready to be built."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import sandbox
from pypm.build.log import BuildLog, printable, run_followed
from pypm.build.system import read_build_system
from pypm.build.tree import EARLIEST_EPOCH, SourceTree
from pypm.errors import BuildError, IntegrityError
from pypm.files import storage_errors
from pypm.isolation import isolation_errors, unpack_policy
from pypm.model.target import Interpreter

_SCRIPT = Path(__file__).with_name("inside_unpack.py")
_REFUSED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SdistLimits:
    """Bounds against archives that grow when unpacked; well beyond the largest sdists that are published."""

    total_bytes: int = 8 << 30
    entries: int = 200_000
    ratio: int = 200
    """Unpacked bytes for one packed byte; source text rarely passes 20."""
    free_bytes: int = 64 << 20
    """An archive that unpacks to less than this may have any ratio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacking:
    """What unpacking is done with."""

    interpreter: Interpreter
    home: Path
    """The caller's, which the sandbox does not see."""
    limits: SdistLimits = SdistLimits()
    isolation: sandbox.Isolation | None = None
    """A weaker one, where the host denies the strongest."""
    start: Callable[[sandbox.Policy, sandbox.Command], sandbox.Process] = sandbox.spawn


def unpack_sdist(archive: Path, staging: Path, unpacking: Unpacking, *, subdirectory: str = "") -> SourceTree:
    """Unpack an sdist (`.tar.gz` and its older forms, `.zip`) into `staging`, which is made and must be new.

    The tree's build date is the newest of its files: it is the same wherever the sdist is built.

    Raises:
        IntegrityError: the archive is unsafe or broken; the message says which entry and why.
        BuildError: it says not how it is built.
        IsolationError: the sandbox could not be made.
        StorageError: the disk refused.
    """
    with storage_errors(f"make the folder `{staging}`"):
        staging.mkdir(parents=True)
    log = BuildLog(on_line=lambda _: None)
    executable = str(unpacking.interpreter.executable)
    limits = json.dumps(asdict(unpacking.limits))
    argv = (executable, "-I", "-S", "-B", str(_SCRIPT), str(archive), str(staging), limits)
    with isolation_errors():
        policy = unpack_policy(
            unpacking.interpreter,
            readable=(archive, _SCRIPT),
            writable=(staging,),
            home=unpacking.home,
            isolation=unpacking.isolation,
        )
        status = run_followed(
            lambda nothing, writing: unpacking.start(
                policy, sandbox.Command(argv=argv, stdin=nothing, stdout=writing, stderr=writing)
            ),
            log,
        )
    top, newest = _answer(archive, status, log)
    root = _inside(staging.resolve(), top, subdirectory)
    name = archive.name
    system = read_build_system(root, name=name)
    return SourceTree(name=name, root=root, system=system, epoch=max(newest, EARLIEST_EPOCH))


def _answer(archive: Path, status: sandbox.ExitStatus, log: BuildLog) -> tuple[str, int]:
    """Read the script's last line; a hostile archive may have taken the script over, so it is only data."""
    try:
        answer = json.loads(log.lines[-1]) if log.lines else None
    except (ValueError, RecursionError):
        answer = None
    match answer:
        case {"refused": str(reason)} if status.returncode == _REFUSED:
            raise IntegrityError(
                f"the sdist `{archive.name}` is refused: {printable(reason)}",
                reference="unsafe-sdist",
                hint="the archive breaks the format in a way that could hide content; do not build it",
            )
        case {"top": str(top), "newest": int(newest)} if status.returncode == 0 and newest < 1 << 40:
            return top, newest
    raise BuildError(
        f"the sdist `{archive.name}` could not be unpacked", reference="unpack-failed", details=log.end
    )


def _inside(staging: Path, top: str, subdirectory: str) -> Path:
    """The folder to build: every step a real folder, so that no link leads out of what was unpacked."""
    root = staging
    for part in (top, *(part for part in subdirectory.split("/") if part)):
        if part in ("", ".", "..") or "/" in part or "\0" in part:
            raise IntegrityError(f"`{part}` is no folder name", reference="unsafe-sdist")
        root = root / part
        if root.is_symlink() or not root.is_dir():
            raise BuildError(f"`{top}/{subdirectory}` is no folder of the sdist", reference="no-such-folder")
    return root

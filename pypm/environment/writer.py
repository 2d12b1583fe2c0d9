"""Write an environment to disk: hard links from the store, staged in the cache, swapped in by one rename.

Whatever happens, the location holds the old environment or the new one. What a killed process leaves is a
folder in the cache, or where that lies on another file system, `.venv.<random>` beside the location; the next
write removes it.

A hard link is the store's own file, and who owns a file may change it. So no sandbox may hold one where it
can write: not while it is staged, which is why that happens out of a run's sight, and not in a project that
lies in another one, whose runs may write to all of it but their own environment. There the files are copied.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pypm.codec.manifest import ManifestRow, load_header, load_rows
from pypm.digest import sha256_hex
from pypm.environment.linking import Link, changed_tree, link_all
from pypm.environment.spreading import spread
from pypm.environment.swap import swap_in
from pypm.errors import ConfigurationError, IntegrityError
from pypm.files import locked, locked_folder, remove_tree, storage_errors
from pypm.paths import PROJECT_FILE
from pypm.regular import read_regular

if TYPE_CHECKING:
    from pypm.model.artifact import Sha256
    from pypm.model.wheel import StoredWheel

STATE_FILE = "pypm-state"
_STATE_MAGIC = "pypm-environment 1"
_STATE_LIMIT_BYTES = 4096
_STAGING = "staging"
"""A folder beside the generated layers."""
_GENERATED = "the environment itself"
"""Owns the generated layer's paths; no wheel can have this name."""
_THREADS = 2
"""Linking waits for the file system's journal more than it computes; more threads than two gain nothing."""
_CHUNK_FILES = 500
"""Files of one wheel that one thread links in a row."""


class Placed(Protocol):
    """What is written: of an `Environment`, only this much."""

    @property
    def digest(self) -> Sha256: ...

    @property
    def location(self) -> Path: ...

    @property
    def base(self) -> Path:
        """The generated layer, which wins over every wheel."""

    @property
    def installed(self) -> tuple[StoredWheel, ...]:
        """In the order in which they win."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a written environment says of itself."""

    digest: str
    base: str
    """Name of the generated layer, which covers all that the environment was made from."""
    stamp: str
    """Whatever the caller wants to find again: a key of the inputs that were synced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """One path that two wheels bring with different content; the first has won."""

    path: str
    winner: str
    loser: str


def read_state(location: Path) -> State | None:
    """Return the state of the environment at `location`, or None when pypm has written none there.

    Three system calls: this is how a sync finds that nothing is to do.
    """
    try:
        descriptor = os.open(location / STATE_FILE, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    try:
        content = os.read(descriptor, _STATE_LIMIT_BYTES)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    lines = content.decode("utf-8", "replace").split("\n")
    if len(lines) != 5 or lines[0] != _STATE_MAGIC:
        return None
    return State(digest=lines[1], base=lines[2], stamp=lines[3])


def write(
    environment: Placed, *, stamp: str = "", on_wait: Callable[[str], None] | None = None
) -> tuple[Overlap, ...]:
    """Make the folder at `environment.location` this environment; return where wheels overlap.

    Every file of the store is compared with its manifest (kind, mode, size, time) when it is linked.
    `stamp`, one line, is kept for `read_state`. `on_wait` is told which other process is writing there.

    Raises:
        ChangedTreeError: a file of the store is not what was unpacked; nothing has changed at the location.
        ConfigurationError: at the location is something that is no virtual environment.
        StorageError: the disk refused.
    """
    location = environment.location
    if "\n" in stamp:
        raise ValueError("a stamp is one line")
    with _writing(environment, on_wait):
        _check_replaceable(location)
        _remove_leftovers(environment)
        staging = _staging_place(environment)
        try:
            overlaps = _stage(environment, staging, stamp)
            swap_in(staging, location)
        except BaseException:
            remove_tree(staging)
            raise
        # After a swap the old environment lies there; after a plain rename nothing does.
        remove_tree(staging)
    return overlaps


def remove(location: Path) -> None:
    """Remove the environment at `location`, and nothing else that may be there.

    Raises:
        ConfigurationError: it is no virtual environment.
        StorageError: the disk refused.
    """
    _check_replaceable(location)
    remove_tree(location)


def _check_replaceable(location: Path) -> None:
    """Refuse to replace what is not a virtual environment: it may be somebody's work."""
    with storage_errors(f"look at `{location}`"):
        try:
            status = location.lstat()
        except FileNotFoundError:
            return
        if stat.S_ISDIR(status.st_mode):
            # Who takes the settings away has an environment of ours, still.
            if (location / "pyvenv.cfg").is_file() or read_state(location) is not None:
                return
            if not any(location.iterdir()):
                return
            what = "is a folder but no virtual environment"
        else:
            what = _what_it_is(status)
    raise _not_an_environment(location, f"{what}, so it is not replaced")


def require_mountable(location: Path) -> None:
    """Refuse to mount an environment on what is no folder; where there is nothing, a sandbox makes one.

    Raises:
        ConfigurationError: it is a file, or a link, which would lead the mount elsewhere.
        StorageError: the disk refused.
    """
    with storage_errors(f"look at `{location}`"):
        try:
            status = location.lstat()
        except FileNotFoundError:
            return
    if not stat.S_ISDIR(status.st_mode):
        raise _not_an_environment(location, f"{_what_it_is(status)}, so no environment can be mounted there")


def _what_it_is(status: os.stat_result) -> str:
    return "is a symbolic link" if stat.S_ISLNK(status.st_mode) else "is not a folder"


def _not_an_environment(location: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"`{location}` {problem}",
        reference="not-an-environment",
        hint="move it away or remove it yourself, then run the command again",
    )


def sweep(environment: Placed) -> None:
    """Remove what killed processes left of an environment that is as it should be.

    A process may have been killed between the swap and the removal of the old environment.
    """
    if _leftovers(environment):
        with _writing(environment):
            _remove_leftovers(environment)


def _writing(
    environment: Placed, on_wait: Callable[[str], None] | None = None
) -> AbstractContextManager[None]:
    """Hold the lock of the environment's location.

    It lies in the cache, so that nothing appears in the project; where the cache is read-only, the project's
    folder itself is locked.
    """
    if _is_read_only(environment):
        return locked_folder(environment.location.parent, on_wait=on_wait)
    name = sha256_hex(os.fsencode(environment.location))
    return locked(environment.base.parent / "locks" / f"location-{name}.lock", on_wait=on_wait)


def _is_read_only(environment: Placed) -> bool:
    return not os.access(environment.base.parent, os.W_OK)


def _staging_place(environment: Placed) -> Path:
    """Return where to stage: in the cache, from where one rename leads to the location, else beside it.

    Another file system, or the same one mounted twice, takes no rename; nor does it take a hard link. A cache
    that is read-only takes nothing.
    """
    location, suffix = environment.location, os.urandom(4).hex()
    hidden, beside = _hidden(environment, suffix), location.with_name(f"{location.name}.{suffix}")
    if _is_read_only(environment):
        return beside
    with storage_errors(f"write `{hidden}`"):
        hidden.parent.mkdir(parents=True, exist_ok=True)
        spread(hidden.parent)
        hidden.mkdir()
        try:
            hidden.rename(beside)
            beside.rename(hidden)
            hidden.rmdir()
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            hidden.rmdir()
            return beside
    return hidden


def _hidden(environment: Placed, suffix: str) -> Path:
    name = sha256_hex(os.fsencode(environment.location))[:16]
    return environment.base.parent / _STAGING / f"{name}.{suffix}"


def _is_inside_a_project(location: Path) -> bool:
    """Whether the project of this environment lies in another project's folder."""
    return any((folder / PROJECT_FILE).is_file() for folder in location.parent.resolve().parents)


def _leftovers(environment: Placed) -> list[Path]:
    found = []
    for pattern in (
        _hidden(environment, "*"),
        environment.location.with_name(f"{environment.location.name}.*"),
    ):
        leftover = re.compile(re.escape(pattern.name[:-1]) + r"[0-9a-f]{8}")
        with storage_errors(f"list `{pattern.parent}`"), contextlib.suppress(FileNotFoundError):
            names = os.listdir(pattern.parent)  # noqa: PTH208 - three system calls are all that a sync makes here
            found += [pattern.with_name(name) for name in names if leftover.fullmatch(name)]
    return found


def _remove_leftovers(environment: Placed) -> None:
    """Remove what killed processes left; the lock is held, so nobody else is staging here."""
    for path in _leftovers(environment):
        remove_tree(path)


def _stage(environment: Placed, staging: Path, stamp: str) -> tuple[Overlap, ...]:
    with storage_errors(f"write `{staging}`"):
        staging.mkdir()
        claims = _Claims(*_copy_base(environment.base, staging))
        links = _links(environment, claims, os.fspath(staging))
        link_all(links, staging, threads=_THREADS, copy=_is_inside_a_project(environment.location))
        state = f"{_STATE_MAGIC}\n{environment.digest}\n{environment.base.name}\n{stamp}\n"
        (staging / STATE_FILE).write_text(state, "utf-8")
    return tuple(claims.overlaps)


def _links(environment: Placed, claims: _Claims, staging: str) -> Iterator[Link]:
    """Yield what to link, wheel by wheel, its folders made already: while one is read, others are linked."""
    for wheel in environment.installed:
        content = read_regular(wheel.tree / "manifest")
        header = load_header(content, tree=wheel.tree)
        if (header.wheel.sha256, header.wheel.merkle_root) != (wheel.sha256, wheel.merkle_root):
            raise changed_tree(wheel, "manifest", "was exchanged")
        rows = [row for row in load_rows(content, header) if not row.path.startswith("../")]
        rows, folders = claims.take(wheel.name, rows)
        for folder in folders:
            os.mkdir(f"{staging}/{folder}")  # noqa: PTH102 - thousands of folders
        for start in range(0, len(rows), _CHUNK_FILES):
            yield Link(wheel=wheel, mtime_ns=header.mtime_ns, rows=rows[start : start + _CHUNK_FILES])


class _Claims:
    """Who brings which path; the first one has it. All paths of a wheel are taken at once, as sets."""

    def __init__(self, files: Iterable[str], folders: Iterable[str]) -> None:
        """Those of the generated layer are there already."""
        self._files = dict.fromkeys(files, _GENERATED)
        """Path to owner."""
        self._folders = {"", *folders}
        self._rows: dict[str, Sequence[ManifestRow]] = {}
        """Owner to what it has brought."""
        self.overlaps: list[Overlap] = []

    def take(self, owner: str, rows: list[ManifestRow]) -> tuple[list[ManifestRow], list[str]]:
        """Return what of `rows` nobody has brought before, and the folders that it needs anew, parents first.

        Raises:
            IntegrityError: a file of one package is a folder of another.
        """
        paths = [row.path for row in rows]
        if not self._files.keys().isdisjoint(paths):
            rows = [row for row in rows if self._is_free(row, owner)]
            paths = [row.path for row in rows]
        folders = self._new_folders(paths)
        self._check_kinds(owner, paths, folders)
        self._files.update(dict.fromkeys(paths, owner))
        self._folders.update(folders)
        self._rows[owner] = rows
        return rows, sorted(folders)

    def _is_free(self, row: ManifestRow, owner: str) -> bool:
        winner = self._files.get(row.path)
        if winner is None:
            return True
        won = [taken.sha256 for taken in self._rows.get(winner, ()) if taken.path == row.path]
        if won not in ([], [row.sha256]):
            self.overlaps.append(Overlap(path=row.path, winner=winner, loser=owner))
        return False

    def _new_folders(self, paths: Iterable[str]) -> set[str]:
        folders = {path.rpartition("/")[0] for path in paths} - self._folders
        for folder in tuple(folders):
            parent = folder.rpartition("/")[0]
            while parent not in folders and parent not in self._folders:
                folders.add(parent)
                parent = parent.rpartition("/")[0]
        return folders

    def _check_kinds(self, owner: str, paths: Iterable[str], folders: set[str]) -> None:
        clash = self._files.keys() & folders
        if clash:
            owner = self._files[min(clash)]
        else:
            clash = self._folders.intersection(paths)
        if clash:
            raise IntegrityError(
                f"`{min(clash)}` is a file of `{owner}` and a folder of another package",
                reference="wheels-clash",
                hint="these two packages cannot be installed together; report it to their projects",
            )


def _copy_base(base: Path, staging: Path) -> tuple[list[str], set[str]]:
    """Copy the generated layer and return its files and folders.

    Its files may be edited in place, so they are not shared with the cache.
    """
    copied = []
    folders = set()
    pending = [""]
    while pending:
        below = pending.pop()
        with os.scandir(base / below) as entries:
            for entry in entries:
                path = f"{below}{entry.name}"
                if entry.is_symlink():
                    (staging / path).symlink_to(os.readlink(entry.path))  # noqa: PTH115
                elif entry.is_dir():
                    (staging / path).mkdir()
                    folders.add(path)
                    pending.append(path + "/")
                    continue
                else:
                    target = staging / path
                    target.write_bytes(Path(entry.path).read_bytes())
                    target.chmod(stat.S_IMODE(entry.stat().st_mode))
                copied.append(path)
    return copied, folders

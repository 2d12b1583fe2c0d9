"""Compare folders on disk with what they should hold, by content and completely.

Size, mode and kind are looked at first, because that is cheap, but only the content is a proof: every file is
hashed, in several threads, and once only where hard links share it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence

from pypm.files import storage_errors
from pypm.model.verification import Difference, ExpectedFile

_CHUNK_BYTES = 1 << 20
_BATCH_BYTES = 8 << 20
"""A thread takes files of about this size together from the queue."""
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

Identity = tuple[int, int]
"""Device and inode: what hard links have in common."""


class Hashes:
    """Hashes of the files that were read, by inode; shared between the folders of one inspection."""

    def __init__(self, *, threads: int | None = None) -> None:
        self._threads = threads or min(8, os.cpu_count() or 1)
        self._known: dict[Identity, str] = {}
        self.read_bytes = 0
        self.read_files = 0

    def add(self, folder: str, files: Mapping[str, os.stat_result]) -> None:
        """Read those files below `folder` that were not read under another name."""
        fresh: dict[Identity, tuple[str, int]] = {}
        for path, status in files.items():
            identity = (status.st_dev, status.st_ino)
            if identity not in self._known:
                fresh[identity] = (f"{folder}/{path}", status.st_size)
        self.read_files += len(fresh)
        self.read_bytes += sum(size_bytes for _, size_bytes in fresh.values())
        batches = list(_batches(list(fresh.items())))
        failures: list[BaseException] = []

        def drain() -> None:
            while batches and not failures:
                try:
                    batch = batches.pop()
                except IndexError:
                    return
                try:
                    self._known.update({identity: _sha256(path, size) for identity, (path, size) in batch})
                except BaseException as error:
                    failures.append(error)

        workers = [threading.Thread(target=drain) for _ in range(min(self._threads, len(batches)) - 1)]
        for worker in workers:
            worker.start()
        drain()
        for worker in workers:
            worker.join()
        if failures:
            raise failures[0]

    def of(self, status: os.stat_result) -> str:
        """Return the hash of a file that was read."""
        return self._known[status.st_dev, status.st_ino]


def _batches(
    files: Sequence[tuple[Identity, tuple[str, int]]],
) -> Iterator[list[tuple[Identity, tuple[str, int]]]]:
    batch: list[tuple[Identity, tuple[str, int]]] = []
    size_bytes = 0
    for file in files:
        batch.append(file)
        size_bytes += file[1][1]
        if size_bytes >= _BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def _sha256(path: str, size_bytes: int) -> str:
    descriptor = os.open(path, _FLAGS)
    try:
        content = os.read(descriptor, min(size_bytes + 1, _CHUNK_BYTES))
        state = hashlib.sha256(content)
        if len(content) != size_bytes:
            while content := os.read(descriptor, _CHUNK_BYTES):
                state.update(content)
        return state.hexdigest()
    finally:
        os.close(descriptor)


def compare_folder(
    folder: str, expected: Mapping[str, ExpectedFile], hashes: Hashes, *, empty_folders: bool = True
) -> tuple[Difference, ...]:
    """Return where `folder` differs from `expected`, whose keys are paths below it; sorted by path.

    Added files are named one by one. With `empty_folders` false, empty folders that nobody expects are named,
    too, with a `/` at their end: an import finds them as a namespace.

    Raises:
        StorageError: something cannot be read.
    """
    missing = dict(expected)
    wrong: list[Difference] = []
    to_read: dict[str, os.stat_result] = {}
    owners = _Owners(expected)
    with storage_errors(f"look through `{folder}`"):
        for path, status in _walk(folder, owners):
            if empty_folders and path.endswith("/"):
                continue
            wanted = missing.pop(path, None)
            if wanted is None:
                wrong.append(Difference(what="added", package=owners.beside(path), path=path))
            elif not _looks_right(f"{folder}/{path}", status, wanted):
                wrong.append(Difference(what="changed", package=wanted.owner, path=path))
            elif wanted.sha256:
                to_read[path] = status
        hashes.add(folder, to_read)
    for path, status in to_read.items():
        if hashes.of(status) != expected[path].sha256:
            wrong.append(Difference(what="changed", package=expected[path].owner, path=path))
    wrong += [Difference(what="missing", package=wanted.owner, path=path) for path, wanted in missing.items()]
    return tuple(sorted(wrong, key=lambda difference: difference.path))


def _looks_right(path: str, status: os.stat_result, wanted: ExpectedFile) -> bool:
    if wanted.target is not None:
        return stat.S_ISLNK(status.st_mode) and os.readlink(path) == wanted.target  # noqa: PTH115
    return (
        stat.S_ISREG(status.st_mode)
        and not (stat.S_IMODE(status.st_mode) ^ wanted.mode) & wanted.mode_mask
        and (not wanted.sha256 or status.st_size == wanted.size_bytes)
        and wanted.mtime_ns in (None, status.st_mtime_ns)
    )


def _walk(folder: str, owners: _Owners) -> Iterator[tuple[str, os.stat_result]]:
    """Yield all that is no folder, and empty folders that nobody expects; no link is followed."""
    pending = [""]
    while pending:
        below = pending.pop()
        is_empty = True
        with os.scandir(f"{folder}/{below}") as entries:
            for entry in entries:
                is_empty = False
                path = below + entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path + "/")
                else:
                    yield path, entry.stat(follow_symlinks=False)
        if is_empty and below and below[:-1] not in owners.folders:
            yield below, os.lstat(f"{folder}/{below}")


class _Owners:
    """Whose a folder is, so that an added file can be told with the package that it lies with."""

    def __init__(self, expected: Mapping[str, ExpectedFile]) -> None:
        self.folders: dict[str, str] = {}
        for path, file in expected.items():
            folder = path.rpartition("/")[0]
            while folder and (known := self.folders.get(folder)) not in ("", file.owner):
                # What several packages share is nobody's, and neither is what lies above it.
                self.folders[folder] = file.owner if known is None else ""
                folder = folder.rpartition("/")[0]

    def beside(self, path: str) -> str:
        """Return the package in whose folder `path` lies; empty where there is none."""
        folder = path.rstrip("/").rpartition("/")[0]
        while folder and folder not in self.folders:
            folder = folder.rpartition("/")[0]
        return self.folders.get(folder, "")

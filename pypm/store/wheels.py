"""The store: wheels unpacked once, verified, compiled, read-only, shared by every environment.

A tree is made under `scratch/`, moved beside its place, checked there and renamed when it is complete, so a
tree that exists is whole. One lock a wheel: two processes that want the same one unpack it once. Data are
not flushed file by file (a sync of fifteen thousand files would take minutes): after a power cut a file may
be empty, and whoever links a tree compares sizes and times with the manifest, which is flushed.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pypm.codec.manifest import (
    ManifestHeader,
    dump_manifest,
    load_entries,
    load_header,
    tree_mtime_ns,
)
from pypm.digest import sha256_file
from pypm.errors import IntegrityError, StorageError
from pypm.files import flush_folder, locked, remove_tree, storage_errors, write_atomically
from pypm.model.artifact import Sha256
from pypm.model.wheel import ManifestEntry, StoredWheel
from pypm.paths import Cache
from pypm.regular import LARGEST_BYTES, open_regular, read_regular
from pypm.store.adoption import (
    Expected,
    Unpacked,
    check_tree,
    merkle_root,
    open_tree,
    parse_answer,
    parse_compiled,
    sources,
    write_derived,
)
from pypm.store.unpacker import Unpacker, UnpackRequest

_HEADER_BYTES = 16 << 10
"""Enough for the header of nearly every manifest; the rest is read when it is not."""
_LEFTOVER = re.compile(r"[0-9a-f]{64}-[^.]+\.[0-9a-f]{8}")


class Store:
    """The trees below `<cache>/store-v1`, one for each wheel and Python tag."""

    def __init__(self, cache: Cache, *, on_wait: Callable[[str, str], None] | None = None) -> None:
        """`on_wait` is told the wheel and the process that has been unpacking it for a moment already."""
        self.cache = cache
        self._on_wait = on_wait

    def tree(self, sha256: Sha256, cache_tag: str) -> Path:
        """Return where the tree of a wheel lies, whether or not it exists."""
        return self.cache.store / sha256[:2] / f"{sha256}-{cache_tag}"

    def find(self, sha256: Sha256, cache_tag: str) -> StoredWheel | None:
        """Return a wheel that lies in the store, or None.

        Raises:
            IntegrityError: its manifest is damaged.
            StorageError: it cannot be read.
        """
        tree = self.tree(sha256, cache_tag)
        try:
            with open_regular(tree / "manifest", largest_bytes=LARGEST_BYTES) as stream:
                content = stream.read(_HEADER_BYTES) or b""
                if b"\n\n" not in content:
                    content += stream.readall()
        except FileNotFoundError:
            return None
        except OSError:
            with storage_errors(f"read `{tree / 'manifest'}`"):
                raise
        wheel = load_header(content, tree=tree).wheel
        if wheel.sha256 != sha256:
            raise IntegrityError(
                f"`{tree}` holds another wheel than its name says",
                reference="damaged-manifest",
                hint="run `pypm cache clean`; the store was changed by hand",
            )
        return wheel

    def find_many(self, hashes: Iterable[Sha256], cache_tag: str) -> dict[Sha256, StoredWheel]:
        """Return those of the wheels that lie in the store, by the hash of their archive."""
        found = ((sha256, self.find(sha256, cache_tag)) for sha256 in hashes)
        return {sha256: wheel for sha256, wheel in found if wheel is not None}

    def add(
        self, archive: Path, expected: Expected, unpacker: Unpacker, *, verified: bool = False
    ) -> StoredWheel:
        """Unpack, verify and compile a wheel into the store, or return it when another process just has.

        `verified` says that the caller has just compared the archive's bytes with `expected.sha256`;
        otherwise that is done here, before anything is unpacked.

        Raises:
            IntegrityError: the archive is not the one that is locked, or breaks the format.
            StorageError: the disk refused.
        """
        cache_tag = unpacker.interpreter.cache_tag
        tree = self.tree(expected.sha256, cache_tag)
        with locked(self._lock_file(tree), on_wait=lambda holder: self._tell_wait(archive.name, holder)):
            present = self.find(expected.sha256, cache_tag)
            if present is not None:
                return present
            if not verified and sha256_file(archive) != expected.sha256:
                raise IntegrityError(
                    f"`{archive.name}` has not the hash that the lock states",
                    reference="wrong-hash",
                    hint="run `pypm cache clean` and try again; if it stays, the index serves another file",
                )
            self._sweep_leftovers(tree)
            staging = self.cache.scratch / f"{tree.name}.{os.urandom(4).hex()}"
            try:
                return self._add(staging, tree, archive, expected, unpacker)
            except BaseException:
                self._sweep_leftovers(tree)
                raise

    def _add(
        self, staging: Path, tree: Path, archive: Path, expected: Expected, unpacker: Unpacker
    ) -> StoredWheel:
        with storage_errors(f"make `{staging}`"):
            staging.mkdir(parents=True)
        mtime_ns = tree_mtime_ns(expected.sha256)
        request = UnpackRequest(archive=archive, staging=staging, mtime_ns=mtime_ns)
        unpacked = parse_answer(unpacker.unpack(request), expected, subject=archive.name)
        root = merkle_root(unpacked, expected, subject=archive.name)
        compiled = unpacker.compile(request, sources(unpacked, unpacker.site_packages))
        entries = (*unpacked.entries, *parse_compiled(compiled, unpacked, subject=archive.name))
        # Out of the workers' reach by path; from here on no link that they may have left is followed.
        adopting = tree.with_name(staging.name)
        with storage_errors(f"write `{adopting}`"):
            tree.parent.mkdir(parents=True, exist_ok=True)
            staging.rename(adopting)
            tree_fd = open_tree(adopting)
            try:
                dist_info = f"{unpacker.site_packages}/{unpacked.dist_info}"
                entries += write_derived(tree_fd, dist_info, entries, mtime_ns)
                check_tree(tree_fd, entries, mtime_ns, subject=archive.name)
            finally:
                os.close(tree_fd)
        wheel = _stored_wheel(expected, unpacked, root, tree)
        manifest = dump_manifest(
            wheel,
            sorted(entries, key=lambda entry: entry.path),
            site_packages=unpacker.site_packages,
            mtime_ns=mtime_ns,
        )
        write_atomically(adopting / "manifest", manifest, mode=0o444)
        _publish(adopting, tree)
        return wheel

    def entries(self, wheel: StoredWheel) -> tuple[ManifestHeader, tuple[ManifestEntry, ...]]:
        """Return the whole manifest of a stored wheel.

        Raises:
            IntegrityError: it is damaged.
            StorageError: it cannot be read.
        """
        with storage_errors(f"read the manifest of `{wheel.name}`"):
            content = read_regular(wheel.tree / "manifest")
        header = load_header(content, tree=wheel.tree)
        return header, load_entries(content, header)

    def check(self, wheel: StoredWheel) -> tuple[str, ...]:
        """Return the paths of files that are missing or differ in kind, mode, size or time; fast, hashes
        nothing."""
        header, entries = self.entries(wheel)
        return tuple(entry.path for entry in entries if not _looks_right(wheel, entry, header.mtime_ns))

    def verify(self, wheel: StoredWheel) -> tuple[str, ...]:
        """Return the paths of files whose content is not what was unpacked, or that are missing."""
        _, entries = self.entries(wheel)
        return tuple(entry.path for entry in entries if not _has_right_content(wheel, entry))

    def remove(self, wheel: StoredWheel) -> None:
        """Remove a tree; environments that link its files keep them."""
        self.remove_tree(wheel.tree)

    def remove_tree(self, tree: Path) -> None:
        """Remove the tree at this place, whatever became of it."""
        with locked(self._lock_file(tree)):
            # Renamed away first: a reader finds the tree whole or not at all.
            doomed = self.cache.scratch / f"{tree.name}.{os.urandom(4).hex()}"
            with storage_errors(f"remove `{tree}`"), contextlib.suppress(FileNotFoundError):
                doomed.parent.mkdir(parents=True, exist_ok=True)
                tree.chmod(0o755)
                tree.rename(doomed)
            remove_tree(doomed)

    def trees(self) -> Iterator[Path]:
        """Yield the trees that the store holds."""
        with storage_errors(f"list `{self.cache.store}`"):
            found = self.cache.store.glob("[0-9a-f][0-9a-f]/*-*")
            yield from sorted(tree for tree in found if not _LEFTOVER.fullmatch(tree.name))

    def sweep(self) -> int:
        """Remove the unfinished trees of killed processes; return how many there were."""
        with storage_errors(f"list `{self.cache.store}`"):
            found = (*self.cache.scratch.glob("*-*"), *self.cache.store.glob("[0-9a-f][0-9a-f]/*-*.*"))
        names = {path.name.partition(".")[0] for path in found if _LEFTOVER.fullmatch(path.name)}
        removed = 0
        for name in sorted(names):
            tree = self.cache.store / name[:2] / name
            try:
                with locked(self._lock_file(tree), timeout_seconds=0):
                    removed += self._sweep_leftovers(tree)
            except StorageError as error:
                # Locked: somebody is unpacking there just now.
                if error.reference != "lock-timeout":
                    raise
        return removed

    def _sweep_leftovers(self, tree: Path) -> int:
        """Remove the scratch folders of one wheel; only for the holder of its lock, who alone may have one.

        A worker that outlives its killed pypm for a moment may still be writing into such a folder. So no
        folder is used twice, and one that cannot be removed now is left to the next sweep.
        """
        removed = 0
        pattern = f"{tree.name}.*"
        for leftover in (*self.cache.scratch.glob(pattern), *tree.parent.glob(pattern)):
            with contextlib.suppress(StorageError):
                remove_tree(leftover)
                removed += 1
        return removed

    def _tell_wait(self, wheel: str, holder: str) -> None:
        if self._on_wait is not None:
            self._on_wait(wheel, holder)

    def _lock_file(self, tree: Path) -> Path:
        return self.cache.store / "locks" / f"{tree.name}.lock"


def _stored_wheel(expected: Expected, unpacked: Unpacked, root: Sha256, tree: Path) -> StoredWheel:
    return StoredWheel(
        name=expected.name,
        version=expected.version or unpacked.version,
        sha256=expected.sha256,
        merkle_root=root,
        tree=tree,
        entry_points=unpacked.entry_points,
        scripts=unpacked.scripts,
        startup_code=unpacked.startup_code,
        dist_info=unpacked.dist_info,
    )


def _publish(adopting: Path, tree: Path) -> None:
    """Rename a finished tree to its place, read-only already: a kill leaves it there as it is meant to be.

    That needs one parent for both: a folder that is given another one must be writable (its `..` changes).
    """
    with storage_errors(f"write `{tree}`"):
        adopting.chmod(0o555)
        adopting.rename(tree)
        flush_folder(tree.parent)


def _looks_right(wheel: StoredWheel, entry: ManifestEntry, mtime_ns: int) -> bool:
    try:
        status = (wheel.prefix / entry.path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    found = (status.st_mode, status.st_size, status.st_mtime_ns)
    return found == (stat.S_IFREG | entry.mode, entry.size_bytes, mtime_ns)


def _has_right_content(wheel: StoredWheel, entry: ManifestEntry) -> bool:
    path = wheel.prefix / entry.path
    with storage_errors(f"read `{path}`"):
        try:
            is_file = stat.S_ISREG(path.lstat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
    return is_file and sha256_file(path) == entry.sha256

"""Looking after the cache: how large it is, and removing what nobody uses."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pypm.errors import StorageError
from pypm.files import locked, locked_whole, remove_tree, storage_errors
from pypm.paths import Cache
from pypm.workflow.context import Context
from pypm.workflow.plans import MOUNTED_LOCK

_SECONDS_PER_DAY = 86_400
_LOCK = "lock"
_LOCKS = "locks"
"""The folder of lock files in a bucket; they are empty, and somebody may hold one."""
_DOOMED = "removed-"
_UNFINISHED = re.compile(r"\..*\.tmp|[0-9a-f]+\.\d+")
"""Files that are renamed to their place when they are complete: answers of indexes, and plans."""


def measure(context: Context) -> dict[str, int]:
    """Return how many bytes of disk each bucket of the cache takes; hard links count once."""
    seen: set[tuple[int, int]] = set()
    return {
        bucket.name: sum(_disk_bytes(bucket, seen)) for bucket in _buckets(context.cache) if bucket.is_dir()
    }


def clean(context: Context) -> int:
    """Remove the whole cache and return the bytes that it took.

    Only the buckets that pypm knows are removed, never the root itself: `PYPM_CACHE_DIR` may name a folder
    that holds other things, too.
    """
    with _alone(context):
        freed_bytes = sum(measure(context).values())
        *buckets, scratch = _buckets(context.cache)
        for bucket in buckets:
            _remove(context.cache, bucket)
        remove_tree(scratch)
        for name in (_LOCK, MOUNTED_LOCK):
            (context.cache.root / name).unlink(missing_ok=True)
    return freed_bytes


def prune(context: Context, *, unused_days: int, dry_run: bool) -> int:
    """Remove what was not used within `unused_days`, and rests of killed processes; return the bytes freed.

    Run plans go whenever a tree goes: they name trees of the store. Waits until no command uses the cache:
    what a sync has just fetched looks unused until it is linked, and what a `run` has mounted must stay.
    """
    from pypm.store.wheels import Store

    cache = context.cache
    limit = time.time() - unused_days * _SECONDS_PER_DAY
    with _alone(context):
        unused = list(_unused(cache, limit))
        gone = [*unused, *_rests(cache)]
        seen: set[tuple[int, int]] = set()
        freed_bytes = sum(size for path in gone for size in _disk_bytes(path, seen))
        if not dry_run:
            if unused:
                remove_tree(cache.plans)
            for path in gone:
                _remove(cache, path)
            Store(cache).sweep()
    return freed_bytes


@contextmanager
def in_use(context: Context) -> Iterator[None]:
    """Keep `prune` and `clean` away from the cache for the block; any number of users stand together.

    Where nothing can be written, nothing can be removed either: a read-only cache needs no lock.
    """
    cache = context.cache
    if cache.root.is_dir() and not os.access(cache.root, os.W_OK):
        yield
        return
    with locked(cache.root / _LOCK, shared=True, on_wait=lambda holder: _tell_wait(context, holder)):
        yield


@contextmanager
def _alone(context: Context) -> Iterator[None]:
    """Hold the cache against every other command for the block; those that are under way are waited for."""
    root = context.cache.root

    def tell(holder: str) -> None:
        _tell_wait(context, holder)

    with locked(root / _LOCK, on_wait=tell), locked_whole(root / MOUNTED_LOCK, on_wait=tell):
        yield


def _tell_wait(context: Context, holder: str) -> None:
    context.reporter.step("Waiting", f"for the cache, which {holder} uses")


def _remove(cache: Cache, path: Path) -> None:
    """Remove a folder that a reader must find whole or not at all, even when this is killed half way."""
    doomed = cache.scratch / f"{_DOOMED}{os.urandom(8).hex()}"
    with storage_errors(f"remove `{path}`"):
        try:
            # What is moved must be writable: its `..` changes.
            path.chmod(0o700)
        except FileNotFoundError:
            return
        doomed.parent.mkdir(parents=True, exist_ok=True)
        path.rename(doomed)
    remove_tree(doomed)


def _buckets(cache: Cache) -> tuple[Path, ...]:
    return (
        cache.wheels,
        cache.store,
        cache.index,
        cache.builds,
        cache.repositories,
        cache.plans,
        cache.environments,
        cache.interpreters,
        cache.scripts,
        cache.hosts,
        cache.plugins,
        cache.scratch,
    )


def _unused(cache: Cache, limit: float) -> Iterator[Path]:
    """What was not used since `limit`: trees at `<bucket>/<sha256[:2]>/<sha256>...`, and generated layers."""
    for layer in (*_children(cache.environments), *_children(cache.scripts), *_children(cache.plugins)):
        if layer.name != _LOCKS and _last_used(layer) < limit:
            yield layer
    for bucket in (cache.wheels, cache.store, cache.builds, cache.repositories):
        for entry in _children(bucket):
            for tree in _children(entry) if entry.name != _LOCKS else ():
                if _last_used(tree) < limit:
                    yield tree


def _rests(cache: Cache) -> Iterator[Path]:
    """What killed processes left: whoever fills a scratch folder or is about to rename a file in holds the
    cache's lock, so while it is ours alone, all of it is nobody's."""
    yield from _children(cache.scratch)
    for bucket in (cache.index, cache.plans):
        for folder, _, files in os.walk(bucket):
            yield from (Path(folder, name) for name in sorted(files) if _UNFINISHED.fullmatch(name))
    for folder_of_environments in (cache.environments, cache.environments / "staging"):
        yield from (entry for entry in _children(folder_of_environments) if "." in entry.name)
    for bucket in (cache.scripts, cache.wheels, cache.interpreters):
        yield from (entry for entry in _children(bucket) if entry.name.startswith("."))


def _children(folder: Path) -> list[Path]:
    with storage_errors(f"list `{folder}`"):
        try:
            return sorted(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []


def _last_used(path: Path) -> float:
    with storage_errors(f"look at `{path}`"):
        status = path.lstat()
        return max(status.st_mtime, status.st_atime)


def _disk_bytes(path: Path, seen: set[tuple[int, int]]) -> Iterator[int]:
    """Yield the bytes of disk of each file below `path`, without following links."""
    pending = [os.fspath(path)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                        continue
                    status = entry.stat(follow_symlinks=False)
                    if (identity := (status.st_dev, status.st_ino)) not in seen:
                        seen.add(identity)
                        yield status.st_blocks * 512
        except NotADirectoryError:
            yield path.lstat().st_blocks * 512
        except FileNotFoundError:
            continue  # Another process removed it meanwhile.
        except OSError as error:
            raise StorageError(
                f"cannot look through `{path}`: {error.strerror}", reference="storage-failed"
            ) from error

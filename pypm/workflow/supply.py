"""Brings picked artifacts into the store: each is fetched, verified, unpacked and compiled as soon as it can.

Downloads, or what plugins bring in their place, and unpacking overlap; the first failure stops the rest where
they are. What is in the store already is neither asked for nor looked at beyond its manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pypm.errors import ConfigurationError, IndexAccessError, IntegrityError
from pypm.files import storage_errors
from pypm.model.artifact import IndexFile, LockedArtifact, Sha256
from pypm.model.lock import LockedPackage
from pypm.model.plan import Pick, Plan
from pypm.model.project import Index, IndexSource, PathSource, UrlSource
from pypm.model.wheel import StoredWheel
from pypm.store.adoption import Expected
from pypm.store.wheels import Store
from pypm.workflow.context import Context
from pypm.workflow.fetch import ReportedProgress
from pypm.workflow.stages import Stage

if TYPE_CHECKING:
    from pypm.index.locate import Locator
    from pypm.store.unpacker import Unpacker

_PARALLEL_DOWNLOADS = 8
"""More only divide the same line."""

_LARGE_BYTES = 32 << 20
_PARALLEL_LARGE = 2
"""Of the large files fewer at once: on a divided line all of them would end together, and only then could
the first be unpacked. So they come one after the other, largest first, each unpacked beside the next ones."""

_PARALLEL_SIZES = 16
"""Requests without a body: they wait for the server, nothing else."""

_PARALLEL_UNPACKING = 2
"""Each uses all processors for its larger part; two keep the disk and the processors busy at once."""


class Supply:
    """What a sync, a run or a build gets its wheels from. Use it as a context manager."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.store = Store(context.cache, on_wait=self._tell_wait)
        self._unpacker: Unpacker | None = None

    def __enter__(self) -> Supply:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._unpacker is not None:
            self._unpacker.close()

    def _tell_wait(self, wheel: str, holder: str) -> None:
        self.context.reporter.step("Waiting", f"for {wheel}, which {holder} unpacks")

    def plan(self, picks: Iterable[Pick], built: Callable[[Pick], StoredWheel | None]) -> Plan:
        """Sort picks into what the store holds, what must be fetched, and what must be built.

        `built` looks up the wheel that was built from an sdist or a source tree before.

        Raises:
            IntegrityError: the lock holds a placeholder in place of a hash.
        """
        reuse: list[tuple[Pick, StoredWheel]] = []
        fetch: list[Pick] = []
        build: list[Pick] = []
        cache_tag = self.context.interpreter.cache_tag
        for pick in picks:
            if pick.artifact is None or not pick.artifact.is_wheel:
                found, missing = built(pick), build
            else:
                found, missing = self.store.find(required_hash(pick.artifact), cache_tag), fetch
            if found is None:
                missing.append(pick)
            else:
                reuse.append((pick, found))
        return Plan(reuse=tuple(reuse), fetch=tuple(fetch), build=tuple(build))

    def fetch(self, picks: Sequence[Pick]) -> tuple[StoredWheel, ...]:
        """Download wheels and put them into the store, in the order of `picks`.

        Raises:
            IndexAccessError: a file could not be had.
            IntegrityError: a file is not the one that was locked, or breaks the wheel format.
            StorageError: the disk refused.
        """
        if not picks:
            return ()
        self.context.stages.warm(Stage.PRE_FETCH)
        stored = self._fetched(picks)
        self.context.stages.fetched(picks, stored, self.known_url)
        return stored

    def _fetched(self, picks: Sequence[Pick]) -> tuple[StoredWheel, ...]:
        unpacker = self._ready_unpacker()
        progress = ReportedProgress(self.context.reporter)
        stored: dict[int, StoredWheel] = {}
        with (
            _stopping(progress),
            _pool(_PARALLEL_DOWNLOADS, "download") as downloads,
            _pool(_PARALLEL_LARGE, "large") as large,
            _pool(_PARALLEL_UNPACKING, "unpack") as unpacking,
        ):
            ending: dict[Future[StoredWheel], int] = {}

            def unpack(number: int, archive: Path) -> None:
                ending[unpacking.submit(self._add, archive, picks[number], unpacker)] = number

            self._take_offered(picks, unpack)
            missing = sorted(set(range(len(picks))).difference(ending.values()))
            sizes = dict(zip(missing, self._sizes([picks[number] for number in missing]), strict=True))
            arriving: dict[Future[Path], int] = {
                (large if sizes[number] >= _LARGE_BYTES else downloads).submit(
                    self.download, picks[number], progress
                ): number
                for number in sorted(missing, key=lambda number: -sizes[number])
            }
            while arriving or ending:
                under_way: list[Future[Any]] = [*arriving, *ending]
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    if future in ending:
                        stored[ending.pop(future)] = future.result()
                    else:
                        number = arriving.pop(future)
                        unpack(number, future.result())
        return tuple(stored[number] for number in range(len(picks)))

    def _take_offered(self, picks: Sequence[Pick], unpack: Callable[[int, Path], None]) -> None:
        """Have plugins bring what they can; each archive is unpacked while the next ones are on their way."""
        numbers = {_required_artifact(pick).filename: number for number, pick in enumerate(picks)}
        self.context.stages.fetching(
            picks, self.known_url, lambda archive: unpack(numbers[archive.name], archive)
        )

    def _sizes(self, picks: Sequence[Pick]) -> list[int]:
        """Return how much each download brings; 0 where neither the lock nor the server says.

        Many indexes leave sizes out, so the lock has none. They decide the order only, so failures are no
        errors.
        """
        if len(picks) <= 1:
            return [0] * len(picks)
        with _pool(_PARALLEL_SIZES, "size") as pool:
            return list(pool.map(self._size_bytes, picks))

    def _size_bytes(self, pick: Pick) -> int:
        from pypm.index.download import archive_path
        from pypm.index.sizes import fill_sizes

        artifact = _required_artifact(pick)
        if artifact.size_bytes is not None:
            return artifact.size_bytes
        if archive_path(self.context.cache.wheels, artifact).exists():
            return 0
        with suppress(IndexAccessError):
            for url in self.urls(pick.package, artifact):
                file = IndexFile(filename=artifact.filename, url=url, sha256=artifact.sha256)
                return fill_sizes(self.context.client, [file])[0].size_bytes or 0
        return 0

    def fetch_source(self, pick: Pick) -> Path:
        """Return the verified archive of a source distribution, downloaded unless the cache has it."""
        stages = self.context.stages
        stages.fetching([pick], self.known_url, lambda _: None)
        archive = self.download(pick)
        stages.fetched([pick], [None], self.known_url)
        return archive

    def download(self, pick: Pick, progress: ReportedProgress | None = None) -> Path:
        """Return the verified archive of a pick, downloaded unless the cache has it."""
        from pypm.index.download import archive_path, download

        artifact = _required_artifact(pick)
        watched = progress or ReportedProgress(self.context.reporter)
        destination = archive_path(self.context.cache.wheels, artifact)
        return download(
            self.context.client, self.urls(pick.package, artifact), artifact, destination, progress=watched
        )

    def add(self, archive: Path, expected: Expected) -> StoredWheel:
        """Put a wheel that was built here into the store."""
        return self.store.add(archive, expected, self._ready_unpacker(), verified=True)

    def _add(self, archive: Path, pick: Pick, unpacker: Unpacker) -> StoredWheel:
        artifact = _required_artifact(pick)
        expected = Expected(
            name=pick.package.name,
            version=pick.package.version,
            sha256=required_hash(artifact),
            merkle_root=artifact.merkle_root,
        )
        with self.context.reporter.task("Unpacking", artifact.filename, unit="wheels"):
            return self.store.add(archive, expected, unpacker, verified=True)

    def urls(self, package: LockedPackage, artifact: LockedArtifact) -> Iterator[str]:
        """Yield where an artifact may lie now, the likeliest place first."""
        source = package.source
        if isinstance(source, UrlSource):
            yield source.url
        elif isinstance(source, PathSource):
            yield (self.context.root / source.path).resolve().as_uri()
        elif isinstance(source, IndexSource):
            yield from self._locator.urls(self._index(source.index), package.name, artifact)

    def known_url(self, pick: Pick) -> str | None:
        """Return where an artifact lies, as far as that is known without asking anybody."""
        source = pick.package.source
        if isinstance(source, UrlSource):
            return source.url
        if isinstance(source, IndexSource) and pick.artifact is not None:
            return self._locator.hinted(self._index(source.index), pick.artifact)
        return None

    def _index(self, name: str) -> Index:
        for index in self.context.indexes:
            if index.name == name:
                return index
        raise ConfigurationError(
            f"the lock takes packages from the index `{name}`, which the project does not name",
            reference="unknown-index",
            hint="add it to `[[tool.pypm.index]]`, or run `pypm lock`",
        )

    @cached_property
    def _locator(self) -> Locator:
        from pypm.index.cache import IndexCache
        from pypm.index.locate import Locator
        from pypm.index.pages import Pages

        cache = IndexCache(self.context.answers, warn=self.context.reporter.warn)
        return Locator(Pages(self.context.client, cache), cache)

    def _ready_unpacker(self) -> Unpacker:
        if self._unpacker is None:
            from pypm.store.unpacker import Unpacker
            from pypm.workflow.runners import SandboxedUnpacking

            cache, interpreter = self.context.cache, self.context.interpreter
            for folder in (cache.wheels, cache.builds, cache.scratch):
                with storage_errors(f"make `{folder}`"):
                    folder.mkdir(parents=True, exist_ok=True)
            self._unpacker = Unpacker(
                SandboxedUnpacking(interpreter, home=self.context.home, isolation=self.context.own_isolation),
                interpreter,
                readable=(cache.wheels, cache.builds),
                writable=cache.scratch,
            )
        return self._unpacker


def required_hash(artifact: LockedArtifact) -> Sha256:
    """Return the hash that the lock states.

    Raises:
        IntegrityError: it holds a placeholder.
    """
    if artifact.sha256 is None:
        raise IntegrityError(
            f"the lock holds a placeholder instead of the hash of `{artifact.filename}`",
            reference="placeholder-hash",
            hint="`pypm lock --refresh` fills it in",
        )
    return artifact.sha256


def _required_artifact(pick: Pick) -> LockedArtifact:
    assert pick.artifact is not None, "only picks with an artifact are downloaded"
    return pick.artifact


@contextmanager
def _stopping(progress: ReportedProgress) -> Iterator[None]:
    """Stop everything that is under way when the block fails or is interrupted."""
    try:
        yield
    except BaseException:
        progress.stop.set()
        raise
    finally:
        progress.close()


@contextmanager
def _pool(size: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Give a pool of threads that is waited for, unless the block fails.

    Then nobody waits: one of them may be reading from a server that sends nothing any more, and what it
    leaves on the disk is what a killed process would leave.
    """
    pool = ThreadPoolExecutor(size, thread_name_prefix=name)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()

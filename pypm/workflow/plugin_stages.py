"""The stages of a command whose project uses plugins: what they are told, and what becomes of their words."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pypm import __version__
from pypm.digest import Sha256, content_digest, sha256_hex
from pypm.errors import PluginError
from pypm.files import write_atomically
from pypm.model.artifact import IndexFile, LockedArtifact
from pypm.model.lock import Lock
from pypm.model.plan import Pick
from pypm.model.wheel import StoredWheel
from pypm.paths import environment_folder
from pypm.plugins.inside.context import Context as Told
from pypm.plugins.inside.context import Package, Stage
from pypm.plugins.session import Session
from pypm.regular import read_regular, read_regular_text
from pypm.workflow.plugin_reports import ReportedPlugins
from pypm.workflow.plugins import choose_plugins, surroundings
from pypm.workflow.stages import (
    Missing,
    OnOffer,
    Pins,
    Stages,
    archive_package,
    built_package,
    ignore_offer,
    picked_package,
)

if TYPE_CHECKING:
    from pypm.model.target import Interpreter
    from pypm.plugins.offers import Offer
    from pypm.plugins.policy import Surroundings
    from pypm.workflow.context import Context

_LOCK_STAGES = (Stage.PRE_LOCK, Stage.POST_LOCK)
"""No interpreter is chosen for these: a lock serves all."""


class PluginStages(Stages):
    """Calls the project's plugins. Every method may be called from any thread; hooks are called in turn."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._listener = ReportedPlugins(context.reporter)
        self._session: Session | None = None
        self._around: Surroundings | None = None
        self._turn = threading.RLock()
        self._failure: PluginError | None = None
        self._is_closed = False

    def close(self) -> None:
        """End all hosts, also one whose hook was called on a thread that nobody waits for any more."""
        self._is_closed = True
        if self._session is None:
            return
        if not self._turn.acquire(blocking=False):
            self._session.interrupt()
            self._turn.acquire()
        try:
            self._session.close()
        finally:
            self._turn.release()

    def check(self) -> None:
        """Raise what a plugin ended the command with on a thread that nobody waited for.

        A version is looked at before it is known whether it is needed; what a plugin says of it holds anyway.
        """
        if self._failure is not None:
            raise self._failure

    def open(self, lock: Lock | None, pins: Pins) -> tuple[Missing, ...]:
        """Find the project's plugins and make them ready; return those whose packages must be fetched first.

        Hosts that run already go on, where their plugins stay the same.

        Raises:
            ConfigurationError, PluginError, IntegrityError, IsolationError: see `choose_plugins`.
        """
        with self._turn:
            if self._around is None:
                self._around = surroundings(self._context)
            chosen, missing = choose_plugins(self._context, self._around, lock, pins)
            if self._session is None:
                self._session = Session(chosen, self._around, self._listener)
            else:
                self._session.adopt(chosen)
        return missing

    def wants(self, *stages: Stage) -> bool:
        """Whether any plugin has a hook for one of these stages."""
        return self._session is not None and any(self._session.wants(stage) for stage in stages)

    def warm(self, *stages: Stage) -> None:
        """Start the hosts that these stages will need, and do not wait for them."""
        if self._session is not None:
            with self._turn:
                self._session.warm(*stages)

    def ready(self, *stages: Stage, environment_digest: str | None) -> tuple[dict[str, Any], ...] | None:
        """Return what a ready plan keeps to call stages that are about no package, see `Session.ready`."""
        if self._session is None:
            return ()
        told = [self._told(stage, (), self._context.interpreter) for stage in stages]
        with self._turn:
            return self._session.ready([replace(one, environment_digest=environment_digest) for one in told])

    def call(
        self,
        stage: Stage,
        packages: Iterable[Package] = (),
        *,
        environment_digest: str | None = None,
        on_offer: OnOffer = ignore_offer,
    ) -> tuple[tuple[Offer, Package], ...]:
        """Call the plugins that want a stage; return the files that they offer, each with its package.

        `on_offer` is told of each offer as soon as it is made, while the hook goes on.

        Raises:
            PluginError: one ended the command, or misbehaved.
        """
        if not self.wants(stage):
            return ()
        interpreter = None if stage in _LOCK_STAGES else self._context.interpreter
        told = self._told(stage, packages, interpreter)
        return self._call(replace(told, environment_digest=environment_digest), on_offer)

    def _call(self, told: Told, on_offer: OnOffer = ignore_offer) -> tuple[tuple[Offer, Package], ...]:
        packages = told.packages
        with self._turn:
            session = self._session
            if session is None or self._is_closed:
                return ()
            self.check()
            try:
                offers = session.call(told, lambda offer: on_offer(offer, packages[offer.package]))
            except PluginError as error:
                self._failure = error
                raise
            finally:
                self._listener.ended()
        return tuple((offer, packages[offer.package]) for offer in offers)

    def _told(self, stage: Stage, packages: Iterable[Package], interpreter: Interpreter | None) -> Told:
        context = self._context
        return Told(
            stage=stage,
            pypm_version=__version__,
            project_root=str(context.root),
            lock_path=str(context.lock_path),
            lock_digest=_file_digest(context.lock_path),
            environment_path=str(environment_folder(context.root)),
            interpreter=None if interpreter is None else str(interpreter.executable),
            interpreter_version=None if interpreter is None else interpreter.version,
            platform_tags=() if interpreter is None else interpreter.target.tags,
            packages=tuple(sorted(packages, key=lambda package: package.name)),
        )

    # Archives that a lock needs ---------------------------------------------------------------------------

    def pre_fetch(self, file: IndexFile) -> None:
        """Before an archive is fetched that a lock needs: take it from a plugin. Any thread may call this.

        One whose index states no hash is taken from nobody else.
        """
        if not self.wants(Stage.PRE_FETCH):
            return
        told = self._told(Stage.PRE_FETCH, [archive_package(file)], None)
        if file.sha256 is None:
            self._call(told)
            return
        artifact = LockedArtifact(filename=file.filename, sha256=file.sha256, size_bytes=file.size_bytes)
        self._take_offers(told, {file.filename: artifact}, lambda _: None)

    def post_fetch(self, file: IndexFile, archive: Path) -> None:
        """An archive that a lock needs is here. It counts as seen when its tree was shown, not before."""
        if self.wants(Stage.POST_FETCH):
            self._call(self._told(Stage.POST_FETCH, [archive_package(file, archive)], None))

    def pre_metadata(self, package: Package) -> None:
        """Before a build tells the metadata of a version that a lock looks at. Any thread may call it.

        It is a `pre-build`, for the code of a backend is about to run. No wheel stays: no `post-build` comes.
        """
        if self.wants(Stage.PRE_BUILD):
            self._call(self._told(Stage.PRE_BUILD, [package], None))

    # Artifacts -------------------------------------------------------------------------------------------

    def fetching(
        self, picks: Sequence[Pick], known_url: Callable[[Pick], str | None], arrived: Callable[[Path], None]
    ) -> None:
        """Before artifacts are downloaded: take those that plugins offer and that have the locked hash."""
        if not self.wants(Stage.PRE_FETCH):
            return
        wanted: dict[str, LockedArtifact] = {}
        absent: list[Package] = []
        for pick in picks:
            package = picked_package(self._context.cache, pick, url=known_url(pick))
            if pick.artifact is not None and package.path is None:
                wanted[pick.artifact.filename] = pick.artifact
                absent.append(package)
        if absent:
            told = self._told(Stage.PRE_FETCH, absent, self._context.interpreter)
            self._take_offers(told, wanted, arrived)

    def _take_offers(
        self, told: Told, wanted: Mapping[str, LockedArtifact], arrived: Callable[[Path], None]
    ) -> None:
        from pypm.workflow.taking import Taking

        with Taking(self._context, wanted, arrived) as taking:
            taken = taking.finish(self._call(told, taking.begin))
        for plugin, count in taken.items():
            artifacts = f"{len(wanted)} artifact{'' if len(wanted) == 1 else 's'}"
            self._context.reporter.step("Took", f"{count} of {artifacts} from `{plugin}`")

    def fetched(
        self,
        picks: Sequence[Pick],
        wheels: Sequence[StoredWheel | None],
        known_url: Callable[[Pick], str | None],
    ) -> None:
        """After artifacts were downloaded, and wheels among them unpacked."""
        if self.wants(Stage.POST_FETCH):
            pairs = list(zip(picks, wheels, strict=True))
            self._pass(
                Stage.POST_FETCH,
                [
                    picked_package(self._context.cache, pick, url=known_url(pick), wheel=wheel)
                    for pick, wheel in pairs
                ],
            )

    def found(
        self, pairs: Iterable[tuple[Pick | None, StoredWheel]], archives: Mapping[Sha256, Path]
    ) -> None:
        """Show what the store had already to those who have not let it pass yet.

        Otherwise a wheel that a plugin refuses would be let in by the next command, which finds it there.
        `archives` tells the files of wheels that were built here.
        """
        if not self.wants(Stage.POST_FETCH, Stage.POST_BUILD):
            return
        fetched, built = [], []
        for pick, wheel in pairs:
            if pick is not None and pick.artifact is not None and pick.artifact.is_wheel:
                fetched.append(picked_package(self._context.cache, pick, wheel=wheel))
            else:
                built.append(built_package(wheel, archives.get(wheel.sha256)))
        self._pass(Stage.POST_FETCH, fetched, only_unseen=True)
        self._pass(Stage.POST_BUILD, built, only_unseen=True)

    def built(self, package: Package) -> None:
        """After a wheel was built and unpacked, or taken from who built it."""
        self._pass(Stage.POST_BUILD, [package])

    def _pass(self, stage: Stage, packages: list[Package], *, only_unseen: bool = False) -> None:
        """Call a stage about artifacts that are here, and keep which of them were let pass."""
        if not packages or not self.wants(stage):
            return
        path = self._passed_path(stage)
        with self._turn:
            passed = _lines(path)
            unseen = [package for package in packages if package.sha256 not in passed]
            called = unseen if only_unseen else packages
            if not called:
                return
            self.call(stage, called)
            new = {package.sha256 for package in called if package.sha256} - passed
            if new:
                write_atomically(path, "".join(f"{line}\n" for line in sorted(passed | new)).encode("ascii"))

    def _passed_path(self, stage: Stage) -> Path:
        """Where it is kept: another plugin, other bytes, other options are to see everything again."""
        assert self._session is not None, "a stage that is wanted has a session"
        plugins = [
            [item.found.name, item.found.sha256, [list(pair) for pair in item.enabled.options]]
            for item in self._session.chosen
            if stage in item.descriptor.stages
        ]
        return self._context.cache.plugins / f"{content_digest([stage.value, plugins])}.passed"


def _file_digest(path: Path) -> str | None:
    try:
        return sha256_hex(read_regular(path))
    except OSError:
        return None


def _lines(path: Path) -> set[str]:
    try:
        return set(read_regular_text(path).split())
    except (OSError, UnicodeDecodeError):
        return set()

"""The rows of `make bench`: what is measured, against whom, and what it has to reach."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tomlkit

from integration import peers
from integration.bench.arena import Arena, bubblewrap_policy, remover
from integration.bench.measure import Contender, Quantity
from integration.ecosystem.question import Question, read_folder

HERE = Path(__file__).resolve().parent
PROJECT = HERE / "project"
CANARY = HERE.parent / "my-lib"
REAL_PROJECTS = HERE.parents[2] / "shared" / "data" / "ecosystem"
"""Public projects that are no part of this repository."""
COLD_LOCK = 1.2
HEAVY = ("first import of torch after a sync", "my-lib, download to ready", "my-lib, peak memory of the same")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison."""

    name: str
    contenders: Callable[[], tuple[Contender, Contender]]
    """Makes both, and what they need, when the row's turn has come."""
    budget: float
    """The ratio to reach."""
    pairs: int
    warm_up: int = 2
    quantity: Quantity = "seconds"
    limit: float | None = None
    """What may not be passed whatever the peer needs, in the row's unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A row that cannot be measured here."""

    name: str
    reason: str


def rows(arena: Arena, *, heavy: bool) -> Iterator[Row | Skipped]:
    """Yield every row of the budget, in its order."""
    yield from _runs(arena)
    yield from _syncs(arena)
    yield from _locks(arena)
    if heavy:
        yield from _heavy(arena)
    else:
        yield from (Skipped(name=name, reason="moves gigabytes: `--heavy`") for name in HEAVY)


def _runs(arena: Arena) -> Iterator[Row | Skipped]:
    def beside_uv() -> tuple[Contender, Contender]:
        ours, theirs = arena.synced_pair(PROJECT)
        peer = arena.contender(peers.uv(), "run", "--frozen", "true", folder=theirs)
        return arena.contender(peers.PYPM, "run", "true", folder=ours), peer

    def beside_bubblewrap(program: Path) -> tuple[Contender, Contender]:
        ours, _ = arena.synced_pair(PROJECT)
        peer = arena.contender(program, *bubblewrap_policy(ours), "true", folder=ours)
        return arena.contender(peers.PYPM, "run", "true", folder=ours), peer

    def without_environment() -> tuple[Contender, Contender]:
        ours, theirs = arena.synced_pair(PROJECT)
        uv = peers.uv()
        script = f"'{uv}' sync --frozen && '{uv}' run --frozen python -c pass"
        return (
            arena.contender(
                peers.PYPM, "run", "python", "-c", "pass", folder=ours, prepare=remover(ours / ".venv")
            ),
            arena.contender("sh", "-c", script, folder=theirs, prepare=remover(theirs / ".venv")),
        )

    yield Row(
        name="run true (sandboxed) / uv run --frozen true (not sandboxed)",
        contenders=beside_uv,
        budget=1.3,
        pairs=40,
    )
    name = "run true / bwrap, equivalent policy"
    bubblewrap = peers.bubblewrap()
    if bubblewrap is None:
        yield Skipped(name=name, reason="bubblewrap is not installed, and apt cannot install it")
    else:
        yield Row(name=name, contenders=partial(beside_bubblewrap, bubblewrap), budget=3.5, pairs=40)
    yield Row(
        name="run python without .venv / uv sync && uv run",
        contenders=without_environment,
        budget=0.3,
        pairs=10,
    )


def _syncs(arena: Arena) -> Iterator[Row]:
    def contenders(*words: str, anew: bool) -> tuple[Contender, Contender]:
        made = []
        for program, folder in zip((peers.PYPM, peers.uv()), arena.synced_pair(PROJECT), strict=True):
            environment = folder / ".venv"
            prepare = remover(environment) if anew else partial(_require, environment, arena, program)
            made.append(arena.contender(program, "sync", *words, folder=folder, prepare=prepare))
        return made[0], made[1]

    yield Row(
        name="sync --frozen without .venv",
        contenders=partial(contenders, "--frozen", anew=True),
        budget=1.0,
        pairs=12,
    )
    yield Row(name="sync, nothing to do", contenders=partial(contenders, anew=False), budget=2.0, pairs=20)


def _require(environment: Path, arena: Arena, program: Path) -> None:
    """Have an environment that is in order: what ran before may have removed it."""
    if not environment.exists():
        arena.call(program, "sync", folder=environment.parent)


def _locks(arena: Arena) -> Iterator[Row | Skipped]:
    yield Row(
        name="lock, cold, my-lib",
        contenders=lambda: _cold_lock(arena, *_canary_pair(arena)),
        budget=COLD_LOCK,
        pairs=4,
        warm_up=1,
    )
    if not REAL_PROJECTS.is_dir():
        yield Skipped(name="lock, cold, real projects", reason="they are not beside this checkout")
        return
    for question in read_folder(REAL_PROJECTS):
        yield Row(
            name=f"lock, cold, {question.name}",
            contenders=partial(_cold_real_lock, arena, question),
            budget=COLD_LOCK,
            pairs=2,
            warm_up=0,
        )


def _canary_pair(arena: Arena) -> tuple[Path, Path]:
    """Copies of the canary without its plugins: without a cache each lock compiles them, and uv has none."""
    ours, theirs = arena.pair(CANARY)
    document = tomlkit.parse((ours / "pyproject.toml").read_text(encoding="utf-8"))
    document["tool"]["pypm"].pop("plugins", None)
    (ours / "pyproject.toml").write_text(tomlkit.dumps(document), encoding="utf-8")
    return ours, theirs


def _cold_real_lock(arena: Arena, question: Question) -> tuple[Contender, Contender]:
    copies = [arena.root / owner / question.name for owner in ("pypm", "uv")]
    for copy in copies:
        copy.parent.mkdir(parents=True, exist_ok=True)
        question.write(copy)
    return _cold_lock(arena, *copies)


def _cold_lock(arena: Arena, ours: Path, theirs: Path) -> tuple[Contender, Contender]:
    """Lock from an empty cache: index pages, metadata and the solver."""
    return (
        arena.contender(peers.PYPM, "lock", "--no-cache", folder=ours, prepare=remover(ours / "pypm.lock")),
        arena.contender(peers.uv(), "lock", "--no-cache", folder=theirs, prepare=remover(theirs / "uv.lock")),
    )


def _heavy(arena: Arena) -> Iterator[Row]:
    first_import, ready, memory = HEAVY

    def importing() -> tuple[Contender, Contender]:
        pair = arena.synced_pair(CANARY)
        made = []
        for program, folder in zip((peers.PYPM, peers.uv()), pair, strict=True):

            def prepare(program: Path = program, folder: Path = folder) -> None:
                remover(folder / ".venv")()
                arena.call(program, "sync", "--frozen", folder=folder)

            python = folder / ".venv" / "bin" / "python"
            made.append(arena.contender(python, "-c", "import torch", folder=folder, prepare=prepare))
        return made[0], made[1]

    def downloading() -> tuple[Contender, Contender]:
        pair = arena.synced_pair(CANARY)
        caches = (arena.root / "fresh-pypm", arena.root / "fresh-uv")
        ours, theirs = (
            arena.contender(
                program,
                "sync",
                "--frozen",
                folder=folder,
                prepare=partial(_forget, folder / ".venv", cache),
                PYPM_CACHE_DIR=str(cache),
                UV_CACHE_DIR=str(cache),
            )
            for program, folder, cache in zip((peers.PYPM, peers.uv()), pair, caches, strict=True)
        )
        return ours, theirs

    yield Row(name=first_import, contenders=importing, budget=0.8, pairs=3, warm_up=1)
    yield Row(name=ready, contenders=downloading, budget=1.0, pairs=2, warm_up=0)
    yield Row(
        name=memory,
        contenders=downloading,
        budget=float("inf"),
        pairs=1,
        warm_up=0,
        quantity="bytes",
        limit=150e6,
    )


def _forget(environment: Path, cache: Path) -> None:
    """Remove an environment and a whole cache, whose folders are read-only."""
    remover(environment)()
    if cache.exists():
        subprocess.run(["chmod", "-R", "u+w", cache], check=True)
        shutil.rmtree(cache)

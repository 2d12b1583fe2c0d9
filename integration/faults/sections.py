"""What is tried, in sections that run as processes of their own: each has its index and gives its rows."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from integration.faults import arena, crowd, tracing
from integration.faults.arena import Program
from integration.faults.boundaries import Boundaries
from integration.faults.conditions import Conditions
from integration.faults.kills import Killing, draw
from integration.faults.poison import Poison
from integration.faults.resume import Resuming, heavy_wheel
from integration.faults.table import Row
from tests.support.index_server import Archive, Fault, IndexServer

_DRIP = Fault(drip_seconds=0.01, drip_bytes=128 << 10)
"""Some ten megabytes a second: downloads take long enough to be hit."""
_OURS = (tracing.KILL, tracing.KILL_LEADER, tracing.KILL_AT_MOUNT)
_WEIGHTY = "sync, empty cache"
"""The phase with most of the calls: fetching, unpacking, compiling, building, staging."""
_PHASES = {tracing.KILL_LEADER: (_WEIGHTY,), tracing.KILL_AT_MOUNT: (_WEIGHTY, "run")}
"""Killing the first process alone matters where there are others, and mounts where a sandbox is set up."""
_ERRORS = (tracing.NO_SPACE, tracing.NO_QUOTA, tracing.BROKEN_DISK, tracing.NO_FILES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a section works with."""

    place: Path
    program: str
    server: IndexServer
    seconds: float
    """What the section may take."""
    seed: int
    quick: bool
    every: bool
    """Every single call, not one of each kind."""
    wheels: Path
    """Where the real wheels are kept."""

    def make(self, name: str = "home") -> Program:
        """Return the program at work in a folder of that name."""
        home = self.place / "trials" / name
        home.parent.mkdir(parents=True, exist_ok=True)
        if self.program == "pypm":
            return arena.pypm(home, self.server)
        if self.program == "uv":
            return arena.uv(home, self.server)
        return arena.pip(home, self.server, self.place)

    def small(self) -> list[Archive]:
        """Offer the small wheels."""
        archives = arena.small_wheels()
        arena.offer(self.server, archives)
        return archives

    @property
    def is_ours(self) -> bool:
        return self.program == "pypm"


def _shared(setup: Setup, *shares: int) -> Iterator[Callable[[], bool]]:
    """Yield, for each row, what tells that its share of the time is over."""
    begun = time.monotonic()
    for number in range(1, len(shares) + 1):
        end = begun + setup.seconds * sum(shares[:number]) / sum(shares)
        yield lambda end=end: time.monotonic() > end  # type: ignore[misc]


def kills_at_calls(setup: Setup) -> Iterator[Row]:
    """SIGKILL at system calls."""
    if setup.quick:
        yield from _at_calls(setup, (tracing.KILL, tracing.NO_SPACE), {})
    else:
        yield from _at_calls(setup, _OURS if setup.is_ours else _OURS[:1], {})


def errors_at_calls(setup: Setup) -> Iterator[Row]:
    """Errors of system calls."""
    harms = _ERRORS if setup.is_ours else (_ERRORS[0], _ERRORS[2])
    yield from _at_calls(setup, harms, {"run", "cache clean", "cache prune", "verify --repair"})


def _at_calls(setup: Setup, harms: tuple[tracing.Harm, ...], left_out: set[str]) -> Iterator[Row]:
    archives = setup.small()
    boundaries = Boundaries(
        setup.make(), tracing.Tracer(setup.place), arena.pyproject_text(tiny=True), archives
    )
    phases = [phase for name, phase in boundaries.phases.items() if name not in left_out]
    chosen = [(phase, harm) for harm in harms for phase in phases]
    chosen = [pair for pair in chosen if pair[0].name in _PHASES.get(pair[1], (pair[0].name,))]
    if setup.quick:
        chosen = [
            pair for pair in chosen if pair[0].name in {"lock", "sync, empty cache", "sync, another .venv"}
        ]
    shares = [4 if phase.name == _WEIGHTY and harm is tracing.KILL else 1 for phase, harm in chosen]
    most = 1 if setup.quick else sys.maxsize
    for (phase, harm), expired in zip(chosen, _shared(setup, *shares), strict=True):
        yield boundaries.run(phase, harm, most=most, every=setup.every, expired=expired)


def random_kills(setup: Setup) -> Iterator[Row]:
    """SIGKILL at random moments of a sync of real wheels."""
    archives = arena.tiny_wheels() if setup.quick else arena.real_wheels(setup.wheels)
    arena.offer(setup.server, archives)
    for archive in archives:
        setup.server.fault(f"/{setup.server.file_path(archive)}", _DRIP)
    program = arena.prepare(setup.make(), arena.pyproject_text(tiny=setup.quick), archives)
    (expired,) = _shared(setup, 1)
    yield Killing(program, setup.server).row(draw(3 if setup.quick else 200, setup.seed), expired=expired)


def crowds(setup: Setup) -> Iterator[Row]:
    """Many at once."""
    archives = arena.tiny_wheels(data_bytes=100_000 if setup.quick else 1_000_000)
    arena.offer(setup.server, archives)
    pyproject = arena.pyproject_text(tiny=True)
    size = 4 if setup.quick else crowd.CROWD
    many = crowd.Crowd(setup.make(), pyproject, archives, setup.server, size=size)
    times = 1 if setup.quick else 3
    if not setup.is_ours:
        yield many.row(" on one cold cache", times=times)
        return
    prune, clean = ("cache", "prune"), ("cache", "clean")
    yield many.row(" on one cold cache, `cache prune` beside them", prune, times=times)
    if not setup.quick:
        yield many.row(
            " on one cold cache, `cache prune --days 0` and `cache clean` beside them",
            (*prune, "--days", "0"),
            clean,
            times=times,
            fetched_once=False,
        )
    program = arena.prepare(setup.make("waits"), pyproject, archives)
    slow = f"/{setup.server.file_path(archives[0])}"
    setup.server.fault(slow, Fault(delay_seconds=60))
    yield crowd.waits(program, setup.server, slow)


def bytecode(setup: Setup) -> Iterator[Row]:
    """The same bytecode from any crowd."""
    archives = arena.tiny_wheels(data_bytes=1000)
    arena.offer(setup.server, archives)
    many = crowd.Crowd(setup.make(), arena.pyproject_text(tiny=True), archives, setup.server, size=4)
    (expired,) = _shared(setup, 1)
    yield many.bytecode_row(times=2 if setup.quick else 100, expired=expired)


def resumed(setup: Setup) -> Iterator[Row]:
    """The heavy wheel."""
    wheel = heavy_wheel(24 << 20) if setup.quick else heavy_wheel()
    resuming = Resuming(setup.make(), setup.server, wheel, seed=setup.seed)
    cuts = 20 if setup.is_ours and not setup.quick else 5
    yield resuming.resets(cuts)
    if not setup.quick:
        yield resuming.kills(cuts)
    if setup.is_ours:
        small = heavy_wheel(3 << 20)
        yield Resuming(setup.make("odd"), setup.server, small, seed=setup.seed).odd_servers()


def conditions(setup: Setup) -> Iterator[Row]:
    """Full disks and the like."""
    archives = setup.small()
    yield from Conditions(setup.make(), arena.pyproject_text(tiny=True), archives).rows()
    if setup.is_ours:
        yield from Poison(setup.make("poison"), arena.pyproject_text(tiny=True), archives).rows()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section for one program, with its share of the whole time."""

    name: str
    program: str
    run: Callable[[Setup], Iterator[Row]]
    share: float

    @property
    def key(self) -> str:
        """As `--only` names it."""
        return f"{self.name}:{self.program}"


def sections() -> tuple[Section, ...]:
    """Return all sections; the shares are minutes of a run of twenty on two processors."""
    listed = [
        Section(name="kills-at-calls", program="pypm", run=kills_at_calls, share=9),
        Section(name="errors-at-calls", program="pypm", run=errors_at_calls, share=6),
        Section(name="bytecode", program="pypm", run=bytecode, share=5),
        Section(name="random-kills", program="pypm", run=random_kills, share=3),
        Section(name="resume", program="pypm", run=resumed, share=3),
        Section(name="crowd", program="pypm", run=crowds, share=2),
        Section(name="conditions", program="pypm", run=conditions, share=2),
    ]
    for peer in ("uv", "pip"):
        listed += [
            replace(section, program=peer, share=share)
            for section, share in zip(listed[:7], (1, 1, 0, 1, 1, 1, 1), strict=True)
            if share and not (peer == "pip" and section.name == "crowd")
        ]
    return tuple(listed)

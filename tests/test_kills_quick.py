"""A few signals at random moments leave nothing behind; `python -m integration.kills` sends a hundred."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import sandbox
from integration.kills import SIGNALS, VICTIMS, WAYS, Range, Trial, draw


@pytest.fixture(scope="module")
def ground() -> Iterator[Range]:
    host = sandbox.probe()
    if not host.namespaces:
        pytest.skip(f"no namespaces here: {host.cause}")
    place = Path(tempfile.mkdtemp(prefix="kills-")).resolve()
    place.chmod(0o755)
    try:
        yield Range(place)
    finally:
        shutil.rmtree(place)


@pytest.mark.parametrize(
    "trial",
    [
        Trial(way="run", victim="supervisor", signal="SIGKILL", moment=0.8),
        Trial(way="run", victim="init", signal="SIGKILL", moment=0.9),
        Trial(way="shell", victim="supervisor", signal="SIGKILL", moment=1.2),
        Trial(way="shell", victim="group", signal="SIGTERM", moment=0.7),
        Trial(way="spawn", victim="supervisor", signal="SIGKILL", moment=0.8),
        Trial(way="spawn", victim="init", signal="SIGHUP", moment=1.1),
    ],
    ids=lambda trial: f"{trial.way}-{trial.signal}-{trial.victim}-{trial.moment}",
)
def test_nothing_is_left(ground: Range, trial: Trial) -> None:
    assert ground.run(trial) == []
    assert ground.still_works()


def test_the_trials_cover_every_kind() -> None:
    trials = draw(len(WAYS) * len(VICTIMS) * len(SIGNALS), seed=1)
    assert len({(trial.way, trial.victim, trial.signal) for trial in trials}) == len(trials)
    assert trials == draw(len(trials), seed=1)

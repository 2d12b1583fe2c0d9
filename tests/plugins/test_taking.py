"""Offered files: taken as soon as they are offered, looked at again at the end, and never more than that."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from pypm.digest import Sha256
from pypm.model.artifact import LockedArtifact
from pypm.paths import Cache
from pypm.plugins.offers import Offer
from pypm.workflow.context import Context
from pypm.workflow.report import SilentReporter
from pypm.workflow.stages import Package
from pypm.workflow.taking import Taking

CONTENT = b"the locked bytes"
NAME = "a-1.0-py3-none-any.whl"
ARTIFACT = LockedArtifact(
    filename=NAME, sha256=Sha256(hashlib.sha256(CONTENT).hexdigest()), size_bytes=len(CONTENT)
)
PACKAGE = Package(name="a", version="1.0", artifact=NAME, sha256=ARTIFACT.sha256, size_bytes=len(CONTENT))


class Warned(SilentReporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str, *, hint: str | None = None) -> None:
        self.warnings.append(text)


@dataclass(kw_only=True)
class Desk:
    """What `Taking` uses of a context, a plugin's folder, and what has arrived."""

    folder: Path
    reporter: Warned = field(default_factory=Warned)
    arrived: list[Path] = field(default_factory=list)

    @property
    def cache(self) -> Cache:
        return Cache(self.folder / "cache")

    @property
    def taking(self) -> Taking:
        return Taking(cast(Context, self), {NAME: ARTIFACT}, self.arrived.append)

    def offer(self, content: bytes, *, plugin: str = "x") -> Offer:
        scratch = self.folder / plugin
        scratch.mkdir(exist_ok=True)
        (scratch / "file").write_bytes(content)
        return Offer(
            plugin=plugin,
            package=0,
            sha256=ARTIFACT.sha256,
            size_bytes=len(CONTENT),
            scratch=scratch,
            parts=("file",),
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(folder=tmp_path)


def test_an_offer_is_taken_while_the_hook_goes_on(desk: Desk) -> None:
    offer = desk.offer(CONTENT)
    with desk.taking as taking:
        taking.begin(offer, PACKAGE)
        assert taking.finish([(offer, PACKAGE)]) == {"x": 1}
    (place,) = desk.arrived
    assert (place.name, place.read_bytes()) == (NAME, CONTENT)
    assert not desk.reporter.warnings
    assert not list(desk.cache.scratch.iterdir())


def test_what_was_offered_before_it_was_written_is_taken_at_the_end(desk: Desk) -> None:
    offer = desk.offer(CONTENT[:3])
    with desk.taking as taking:
        taking.begin(offer, PACKAGE)
        next(iter(taking._begun.values())).result()
        assert not desk.arrived
        desk.offer(CONTENT)
        assert taking.finish([(offer, PACKAGE)]) == {"x": 1}
    assert [place.read_bytes() for place in desk.arrived] == [CONTENT]
    assert not desk.reporter.warnings


def test_a_wrong_file_is_read_twice_at_most_however_often_it_is_offered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    take = Offer.take

    def counted(offer: Offer, destination: Path) -> bool:
        reads.append(offer)
        return take(offer, destination)

    monkeypatch.setattr(Offer, "take", counted)
    offer = desk.offer(b"poison")
    with desk.taking as taking:
        for _ in range(100):
            taking.begin(offer, PACKAGE)
        assert taking.finish([(offer, PACKAGE)]) == {}
    assert len(reads) == 2
    assert not desk.arrived
    assert len(desk.reporter.warnings) == 1


def test_of_two_plugins_the_first_one_with_the_right_file_counts(desk: Desk) -> None:
    wrong, right = desk.offer(b"poison", plugin="x"), desk.offer(CONTENT, plugin="y")
    with desk.taking as taking:
        for offer in (wrong, right):
            taking.begin(offer, PACKAGE)
        assert taking.finish([(wrong, PACKAGE), (right, PACKAGE)]) == {"y": 1}
    assert len(desk.arrived) == 1
    assert [warning.partition(":")[0] for warning in desk.reporter.warnings] == ["x"]


def test_what_is_there_already_is_not_replaced(desk: Desk) -> None:
    offers = [desk.offer(CONTENT, plugin=plugin) for plugin in ("x", "y")]
    with desk.taking as taking:
        for offer in offers:
            taking.begin(offer, PACKAGE)
        assert sum(taking.finish([(offer, PACKAGE) for offer in offers]).values()) == 1
    assert len(desk.arrived) == 1
    assert not desk.reporter.warnings

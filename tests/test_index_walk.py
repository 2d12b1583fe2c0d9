"""The walk ahead of the resolver: what it asks for, what it leaves alone, and that it decides nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from pypm.index import walk
from pypm.index.cache import IndexCache
from pypm.index.client import Client, NetworkSettings
from pypm.index.provider import IndexProvider, ProviderSettings
from pypm.model.project import Index
from pypm.paths import Cache
from pypm.resolve.inputs import Inputs, Preference
from pypm.resolve.solve import resolve
from tests.support.index_server import Fault, IndexServer, make_wheel

SETTINGS = NetworkSettings(backoff_seconds=0.01, timeout_seconds=5, retries=1, trust_environment=False)


@pytest.fixture
def server() -> Iterator[IndexServer]:
    with IndexServer() as running:
        yield running


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(SETTINGS) as made:
        yield made


@pytest.fixture
def opened(server: IndexServer, client: Client, tmp_path: Path) -> Iterator[Callable[[], IndexProvider]]:
    """Each provider with a cache of its own: nothing is known beforehand."""
    made: list[IndexProvider] = []

    def one() -> IndexProvider:
        indexes = [Index(name="default", url=server.url)]
        cache = Cache(tmp_path / f"cache{len(made)}")
        settings = ProviderSettings(root=tmp_path)
        provider = IndexProvider(client, indexes, settings, cache, IndexCache(cache.index))
        made.append(provider)
        return provider

    yield one
    for provider in made:
        provider.close()


def question(*requirements: str, pins: dict[str, str] | None = None) -> Inputs:
    return Inputs(
        project=canonicalize_name("me"),
        requires_python=SpecifierSet(">=3.10"),
        dependencies=tuple(map(Requirement, requirements)),
        preferences={
            canonicalize_name(name): (Preference(version=Version(version)),)
            for name, version in (pins or {}).items()
        },
    )


def settled(server: IndexServer, *expected: str) -> set[str]:
    """Wait until these paths were asked for, and a little longer; return all that were."""
    deadline = time.monotonic() + 60
    while not {request.path for request in list(server.requests)}.issuperset(expected):
        assert time.monotonic() < deadline, "the walk does not arrive"
        time.sleep(0.01)
    time.sleep(0.1)
    return {request.path for request in list(server.requests)}


def page(name: str) -> str:
    return f"/simple/{name}/"


def metadata(name: str, version: str) -> str:
    return f"/files/{name}-{version}-py3-none-any.whl.metadata"


def test_it_goes_to_the_end_of_the_graph_and_the_resolver_asks_nothing_more(
    server: IndexServer, opened: Callable[[], IndexProvider]
) -> None:
    for name, requires in (("a", ["b>=1"]), ("b", ["c[fast]"]), ("d", []), ("e", [])):
        server.add(name, make_wheel(name, "1.0", requires=requires))
    server.add("c", make_wheel("c", "1.0", requires=["d; extra == 'fast'", "e; extra == 'slow'"]))
    provider, asked = opened(), question("a")
    provider.walk(asked)
    expected = {place for name in "abcd" for place in (page(name), metadata(name, "1.0"))}
    assert settled(server, *expected) == expected
    before = len(server.requests)
    assert {str(pin.candidate.name) for pin in resolve(asked, provider).pins} == set("abcd")
    assert len(server.requests) == before
    assert "4 packages (0 of them in vain)" in provider.traffic()


def test_it_asks_for_the_version_that_the_requirements_choose(
    server: IndexServer, opened: Callable[[], IndexProvider]
) -> None:
    versions = ("1.0", "2.0", "3.0", "4.0rc1")
    for name in ("pinned", "bounded", "locked", "free"):
        server.add(name, *(make_wheel(name, version) for version in versions))
    opened().walk(question("pinned==1.0", "bounded<3", "locked", "free", pins={"locked": "2.0"}))
    chosen = {
        metadata("pinned", "1.0"),
        metadata("bounded", "2.0"),
        metadata("locked", "2.0"),
        metadata("free", "3.0"),
    }
    assert {path for path in settled(server, *chosen) if path.endswith(".metadata")} == chosen


def test_older_pythons_get_their_version_too(
    server: IndexServer, opened: Callable[[], IndexProvider]
) -> None:
    bounds = {"1.0": ">=3.8", "2.0": ">=3.10", "3.0": ">=3.12"}
    server.add("a", *(make_wheel("a", version, requires_python=bound) for version, bound in bounds.items()))
    opened().walk(question("a"))
    expected = {page("a"), metadata("a", "3.0"), metadata("a", "2.0")}
    assert settled(server, *expected) == expected


def test_it_leaves_alone_what_cannot_hold(server: IndexServer, opened: Callable[[], IndexProvider]) -> None:
    requires = ["never; python_version < '3.8'", "windows; sys_platform == 'win32'"]
    server.add("a", make_wheel("a", "1.0", requires=requires))
    for name in ("never", "windows"):
        server.add(name, make_wheel(name, "1.0"))
    opened().walk(question("a"))
    assert page("never") not in settled(server, metadata("windows", "1.0"))


def test_a_graph_without_end_is_not_followed(
    server: IndexServer, opened: Callable[[], IndexProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "MAX_NAMES_AHEAD", 10)
    for number in range(40):
        server.add(f"p{number}", make_wheel(f"p{number}", "1.0", requires=[f"p{number + 1}"]))
    opened().walk(question("p0"))
    pages = [path for path in settled(server, metadata("p9", "1.0")) if path.startswith("/simple/")]
    assert len(pages) == 10


def test_what_is_missing_or_broken_is_left_to_the_resolver(
    server: IndexServer, opened: Callable[[], IndexProvider]
) -> None:
    server.add("a", make_wheel("a", "1.0", requires=["gone"]), make_wheel("a", "0.9", requires=["b"]))
    server.add("b", make_wheel("b", "1.0"))
    server.fault(metadata("b", "1.0"), Fault.status(503), times=1)
    provider, asked = opened(), question("a")
    provider.walk(asked)
    settled(server, page("gone"))
    assert {str(pin.candidate.version) for pin in resolve(asked, provider).pins} == {"0.9", "1.0"}


@pytest.mark.parametrize("seed", range(6))
def test_no_order_of_replies_changes_the_answer(
    server: IndexServer, opened: Callable[[], IndexProvider], seed: int
) -> None:
    """Versions that exclude each other, a fork and extras: walked or not, whatever comes first."""
    chance = random.Random(seed)
    names = [f"n{number}" for number in range(8)]
    for number, name in enumerate(names):
        for version in range(1, 5):
            later = names[number + 1 :]
            requires = [
                f"{other}{chance.choice(['', f'>={chance.randint(1, 3)}', f'<={version}'])}"
                + chance.choice(["", "", "; python_version < '3.12'", "; sys_platform == 'win32'"])
                for other in chance.sample(later, min(2, len(later)))
            ]
            server.add(name, make_wheel(name, f"{version}.0", requires=requires))
    asked = question("n0", "n1; python_version >= '3.12'", "n2<4")
    expected = resolve(asked, opened())
    for round_number in range(2):
        for name in names:
            server.fault(page(name), Fault(delay_seconds=chance.choice([0, 0.01, 0.04])))
            for version in range(1, 5):
                delay_seconds = chance.choice([0, 0.01, 0.04])
                server.fault(metadata(name, f"{version}.0"), Fault(delay_seconds=delay_seconds))
        provider = opened()
        provider.walk(asked)
        if round_number:
            settled(server, metadata("n0", "4.0"))
        assert resolve(asked, provider) == expected
        server.heal()

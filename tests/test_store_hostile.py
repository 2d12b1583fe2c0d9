"""Archives made to deceive an unpacker. Each is refused with its own code, and nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pypm.errors import IntegrityError
from pypm.files import remove_tree
from pypm.paths import Cache
from pypm.store.unpacker import Unpacker, UnpackLimits
from pypm.store.wheels import Store

from .support.hostile_wheels import ALLOWED, CASES, GOOD
from .support.wheels import expected, unpacker


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cache]:
    cache = Cache(tmp_path_factory.mktemp("hostile") / "cache")
    yield cache
    remove_tree(cache.root)


@pytest.fixture(scope="module")
def pool(cache: Cache) -> Iterator[Unpacker]:
    limits = UnpackLimits(entries=1000, total_bytes=64 << 20, ratio=100, ratio_exempt_bytes=1 << 20)
    with unpacker(cache, cache.root.parent, limits=limits) as pool:
        yield pool


@pytest.mark.parametrize("case", CASES)
def test_refused(cache: Cache, pool: Unpacker, tmp_path: Path, case: str) -> None:
    code, build = CASES[case]
    archive = GOOD.build(tmp_path, build())
    wanted = expected(archive)
    with pytest.raises(IntegrityError) as caught:
        Store(cache).add(archive, wanted, pool)
    assert caught.value.reference == code, caught.value.message
    assert archive.name in caught.value.message
    assert caught.value.exit_code == 3
    assert Store(cache).find(wanted.sha256, pool.interpreter.cache_tag) is None
    assert not list(cache.scratch.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {archive.name}


@pytest.mark.parametrize("case", ALLOWED)
def test_the_neighbouring_good_archive_is_accepted(
    cache: Cache, pool: Unpacker, tmp_path: Path, case: str
) -> None:
    archive = GOOD.build(tmp_path, ALLOWED[case]())
    store = Store(cache)
    wheel = store.add(archive, expected(archive), pool)
    assert store.verify(wheel) == store.check(wheel) == ()

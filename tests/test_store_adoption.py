"""A worker that was taken over by what it unpacked: the host believes nothing of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypm.errors import IntegrityError, StorageError
from pypm.files import remove_tree
from pypm.paths import Cache
from pypm.store.unpacker import Unpacker, UnpackRequest
from pypm.store.wheels import Store

from .support.wheels import PlainRunner, WheelBuilder, expected, interpreter

SITE = f"prefix/lib/{interpreter().python_tag}/site-packages"
Tampering = Callable[[Path, dict[str, Any]], Any]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    cache = Cache(tmp_path / "cache")
    cache.scratch.mkdir(parents=True)
    yield cache
    remove_tree(cache.root)


class TakenOver(Unpacker):
    """Unpacks honestly, then changes what lies there or what is answered."""

    tamper: Tampering

    def compile(self, request: UnpackRequest, sources: Any) -> list[Any]:
        answer = super().compile(request, sources)
        return answer if self.tamper(request.staging, {"compiled": answer}) is None else []

    def unpack(self, request: UnpackRequest) -> Any:
        answer = super().unpack(request)
        changed = self.tamper(request.staging, answer)
        return answer if changed is None else changed


def outside(staging: Path) -> Path:
    """A folder of the user's that a link may point to."""
    folder = staging.parent.parent.parent / "outside"
    folder.mkdir(exist_ok=True)
    return folder


def extra_file(staging: Path, _: Any) -> None:
    (staging / SITE / "extra.py").write_text("import evil")


def extra_link(staging: Path, _: Any) -> None:
    if not os.path.lexists(staging / SITE / "extra"):
        (staging / SITE / "extra").symlink_to(outside(staging))


def file_to_link(staging: Path, _: Any) -> None:
    victim = staging / SITE / "demo/__init__.py"
    victim.unlink(missing_ok=True)
    victim.symlink_to("/etc/passwd")


def info_to_link(staging: Path, _: Any) -> None:
    info = staging / SITE / "demo-1.0.dist-info"
    if not info.is_symlink():
        shutil.rmtree(info)
        info.symlink_to(outside(staging))


def tree_to_link(staging: Path, answer: Any) -> None:
    if "compiled" in answer:
        shutil.rmtree(staging)
        staging.symlink_to(outside(staging))


def planted_record(staging: Path, _: Any) -> None:
    record = staging / SITE / "demo-1.0.dist-info/RECORD"
    if not os.path.lexists(record):
        record.symlink_to(outside(staging) / "written")


def longer_file(staging: Path, _: Any) -> None:
    victim = staging / SITE / "demo/__init__.py"
    victim.chmod(0o644)
    victim.write_text("import evil, evil")


def answered(**changes: Any) -> Tampering:
    return lambda _, answer: None if "compiled" in answer else {**answer, **changes}


def first_file(*changes: Any) -> Tampering:
    """Change the first announced file's leading fields."""

    def tamper(_: Path, answer: dict[str, Any]) -> Any:
        if "compiled" in answer:
            return None
        first, *others = answer["files"]
        return {**answer, "files": [[*changes, *first[len(changes) :]], *others]}

    return tamper


def foreign_bytecode(_: Path, answer: dict[str, Any]) -> None:
    if "compiled" in answer:
        answer["compiled"][0][0] = f"{SITE}/other/__pycache__/x.{interpreter().cache_tag}.pyc"


CASES: dict[str, Tampering] = {
    "extra file": extra_file,
    "extra link": extra_link,
    "file to link": file_to_link,
    "folder to link": info_to_link,
    "tree to link": tree_to_link,
    "planted record": planted_record,
    "longer file": longer_file,
    "foreign bytecode": foreign_bytecode,
    "no answer": lambda _, answer: [],
    "no files": answered(files=[]),
    "other name": answered(name="evil"),
    "other stem": answered(stem="demo-2.0"),
    "stem with a folder": answered(stem="../demo-1.0"),
    "script that escapes": answered(entry_points=[["../x", "a", "b", False]]),
    "startup that breaks lines": answered(startup=["a\nb"]),
    "path that escapes": first_file("a", "prefix/../../x"),
    "path outside": first_file("a", "elsewhere/x"),
    "absolute path": first_file("a", "/etc/passwd"),
    "name that breaks lines": first_file("a\tb"),
    "setuid": first_file("a", "prefix/a", 0o4555),
    "negative size": first_file("a", "prefix/a", 0o444, -1),
    "size that is none": first_file("a", "prefix/a", 0o444, True),
    "digest that is none": first_file("a", "prefix/a", 0o444, 1, "00"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused_and_nothing_written_elsewhere(cache: Cache, tmp_path: Path, case: str) -> None:
    archive = WheelBuilder().build(tmp_path / "archives")
    (tmp_path / "outside").mkdir()
    wanted = expected(archive)
    with TakenOver(PlainRunner(), interpreter(), readable=(tmp_path,), writable=cache.scratch) as pool:
        pool.tamper = CASES[case]
        with pytest.raises((IntegrityError, StorageError)):
            Store(cache).add(archive, wanted, pool)
    assert Store(cache).find(wanted.sha256, interpreter().cache_tag) is None
    assert list((tmp_path / "outside").iterdir()) == []
    assert (tmp_path / "outside").stat().st_mode & 0o777 == 0o755
    assert list(cache.scratch.iterdir()) == []
    assert list(cache.store.glob("??/*.*")) == []

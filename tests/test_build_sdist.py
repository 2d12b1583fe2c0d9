"""Unpacking of source distributions: what is refused, what is kept, and that it happens in the sandbox."""

from __future__ import annotations

import contextlib
import gzip
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pypm.build.inside_unpack import Limits, RefusedError, unpack
from pypm.build.sdist import SdistLimits, Unpacking, unpack_sdist
from pypm.build.tree import EARLIEST_EPOCH
from pypm.errors import BuildError, IntegrityError
from tests.support.builds import this_interpreter
from tests.support.hostile_sdists import CASES, GOOD, hostile, tar

GENEROUS = Limits(total_bytes=1 << 30, entries=1000, ratio=200, free_bytes=1 << 20)


def refused(path: Path, staging: Path, limits: Limits = GENEROUS) -> str:
    staging.mkdir()
    with pytest.raises(RefusedError) as caught:
        unpack(str(path), str(staging), limits)
    return str(caught.value)


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz", "w"])
def test_a_good_sdist_is_unpacked_with_plain_modes_and_its_times(tmp_path: Path, mode: str) -> None:
    archive = tar(tmp_path / "x.tar", *GOOD, mode=mode)
    staging = tmp_path / "out"
    staging.mkdir()
    assert unpack(str(archive), str(staging), GENEROUS) == {"top": "x-1.0", "newest": 1_700_000_005}
    run = staging / "x-1.0" / "run"
    assert stat.S_IMODE(run.stat().st_mode) == 0o755
    assert run.stat().st_mtime == 1_700_000_005
    assert stat.S_IMODE((staging / "x-1.0" / "pyproject.toml").stat().st_mode) == 0o644
    assert (staging / "x-1.0" / "link").readlink() == Path("run")
    assert (staging / "x-1.0" / "copy").read_bytes() == b"#!/bin/sh\n"
    assert (staging / "x-1.0" / "copy").stat().st_ino != run.stat().st_ino


@pytest.mark.parametrize("case", CASES)
def test_unsafe_entries_are_refused(tmp_path: Path, case: str) -> None:
    reason, members = CASES[case]
    archive = hostile(tmp_path / "x.tar.gz", members)
    assert reason in refused(archive, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "x.tar.gz"]


def test_folders_may_be_of_a_shared_group(tmp_path: Path) -> None:
    shared = ("x-1.0/shared", b"", {"type": tarfile.DIRTYPE, "mode": 0o2775})
    (tmp_path / "out").mkdir()
    unpack(str(hostile(tmp_path / "x.tar.gz", [shared])), str(tmp_path / "out"), GENEROUS)
    assert stat.S_IMODE((tmp_path / "out" / "x-1.0" / "shared").stat().st_mode) == 0o755


def test_bombs_are_stopped_while_they_unfold(tmp_path: Path) -> None:
    archive = tar(tmp_path / "x.tar.gz", ("x/zeros", b"\0" * (8 << 20), {}))
    assert archive.stat().st_size < 16 << 10
    assert "unpacks to more than" in refused(archive, tmp_path / "out")
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file()) == 0


def test_copies_of_a_file_count_towards_the_total(tmp_path: Path) -> None:
    one = ("x/one", os.urandom(600 << 10), {})
    copies = [(f"x/c{n}", b"", {"type": tarfile.LNKTYPE, "linkname": "x/one"}) for n in range(300)]
    limits = GENEROUS._replace(total_bytes=4 << 20)
    assert "unpacks to more than" in refused(
        tar(tmp_path / "x.tar.gz", one, *copies), tmp_path / "out", limits
    )


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    members = [(f"x/{n}", b"", {}) for n in range(11)]
    limits = GENEROUS._replace(entries=10)
    assert "more than 10 entries" in refused(tar(tmp_path / "x.tar.gz", *members), tmp_path / "out", limits)


def test_zip_sdists_are_unpacked_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("x-1.0/setup.py", (2020, 1, 1, 0, 0, 0)), "pass")
    (tmp_path / "out").mkdir()
    answer = unpack(str(tmp_path / "x.zip"), str(tmp_path / "out"), GENEROUS)
    assert answer == {"top": "x-1.0", "newest": 1_577_836_800}


def test_links_in_zips_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("x-1.0/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert "link or a device" in refused(tmp_path / "x.zip", tmp_path / "out")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=400))
def test_nothing_that_calls_itself_an_archive_breaks_the_unpacker(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "x.tar.gz").write_bytes(gzip.compress(content.ljust(512, b"\0")))
    (folder / "out").mkdir()
    with contextlib.suppress(RefusedError, tarfile.TarError, EOFError, UnicodeError):
        unpack(str(folder / "x.tar.gz"), str(folder / "out"), GENEROUS)
    assert sorted(path.name for path in folder.iterdir()) == ["out", "x.tar.gz"]


def test_in_the_sandbox_a_good_sdist_becomes_a_source_tree(tmp_path: Path) -> None:
    archive = tar(tmp_path / "x-1.0.tar.gz", *GOOD)
    unpacking = Unpacking(interpreter=this_interpreter(), home=tmp_path)
    tree = unpack_sdist(archive, tmp_path / "staging", unpacking)
    assert tree.root == tmp_path / "staging" / "x-1.0"
    assert tree.system.backend == "b"
    assert tree.epoch == 1_700_000_005 > EARLIEST_EPOCH
    assert (tree.root / "run").read_bytes() == b"#!/bin/sh\n"


def test_in_the_sandbox_a_bad_sdist_is_an_integrity_error(tmp_path: Path) -> None:
    archive = tar(tmp_path / "x-1.0.tar.gz", *GOOD, ("x-1.0/../../escaped", b"", {}))
    unpacking = Unpacking(interpreter=this_interpreter(), home=tmp_path)
    with pytest.raises(IntegrityError) as caught:
        unpack_sdist(archive, tmp_path / "staging", unpacking)
    assert caught.value.exit_code == 3
    assert "`x-1.0/../../escaped` leads out" in caught.value.message
    assert not (tmp_path / "escaped").exists()


def test_garbage_is_an_integrity_error(tmp_path: Path) -> None:
    (tmp_path / "x-1.0.tar.gz").write_bytes(b"<html>log in</html>")
    unpacking = Unpacking(interpreter=this_interpreter(), home=tmp_path, limits=SdistLimits(entries=5))
    with pytest.raises(IntegrityError, match="cannot be read as an archive"):
        unpack_sdist(tmp_path / "x-1.0.tar.gz", tmp_path / "staging", unpacking)


def test_a_subdirectory_must_be_a_real_folder_inside(tmp_path: Path) -> None:
    archive = tar(tmp_path / "x-1.0.tar.gz", *GOOD)
    unpacking = Unpacking(interpreter=this_interpreter(), home=tmp_path)
    with pytest.raises(BuildError, match="no folder of the sdist"):
        unpack_sdist(archive, tmp_path / "a", unpacking, subdirectory="missing")
    with pytest.raises(IntegrityError, match="no folder name"):
        unpack_sdist(archive, tmp_path / "b", unpacking, subdirectory="../..")

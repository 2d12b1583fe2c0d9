"""The store: a wheel becomes a tree once, whole, read-only and as its RECORD says."""

from __future__ import annotations

import importlib.util
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from pypm.codec.manifest import dump_manifest, load_entries, load_header, load_rows, tree_mtime_ns
from pypm.codec.merkle import wheel_leaf, wheel_root
from pypm.codec.record import parse_record
from pypm.digest import sha256_hex
from pypm.environment.interpreters import find_all
from pypm.errors import IntegrityError, StorageError
from pypm.files import remove_tree
from pypm.model.artifact import Sha256
from pypm.model.target import Interpreter
from pypm.paths import Cache
from pypm.store.unpacker import Unpacker, UnpackerClosedError
from pypm.store.wheels import Store

from .support.wheels import PlainRunner, WheelBuilder, expected, interpreter, record_row, unpacker

TAG = interpreter().cache_tag
SITE = f"lib/{interpreter().python_tag}/site-packages"

RICH = WheelBuilder(
    files={
        "demo/__init__.py": b"VALUE = 42\n",
        "demo/broken.py": b"def (:\n",
        "demo/helper": b"#!/bin/sh\n",
        "demo/sub.module/x.py": b"X = 1\n",
    },
    data={
        "scripts/tool": b"#!python\nprint('tool')\n",
        "scripts/binary": b"\x7fELF" + b"\0" * 100,
        "data/share/demo/readme": b"hello",
        "data/lib64/demo.txt": b"64",
        "headers/demo.h": b"int demo;",
        "purelib/extra.py": b"EXTRA = True\n",
    },
    entry_points=(
        "[console_scripts]\ndemo = demo:main [extra]\n\n"
        "[gui_scripts]\ndemo-gui = demo.gui:App.start\n[x]\ny=z\n"
    ),
    executable=frozenset({"demo/helper"}),
)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    cache = Cache(tmp_path / "cache")
    yield cache
    remove_tree(cache.root)


@pytest.fixture
def pool(cache: Cache, tmp_path: Path) -> Iterator[Unpacker]:
    with unpacker(cache, tmp_path) as pool:
        yield pool


def test_a_wheel_is_laid_out_as_an_environment(cache: Cache, pool: Unpacker, tmp_path: Path) -> None:
    archive = RICH.build(tmp_path)
    store = Store(cache)
    assert store.find(expected(archive).sha256, TAG) is None
    wheel = store.add(archive, expected(archive), pool)
    files = {str(path.relative_to(wheel.tree)) for path in wheel.tree.rglob("*") if not path.is_dir()}
    assert files == {
        "manifest",
        "scripts/tool",
        "prefix/bin/binary",
        "prefix/share/demo/readme",
        "prefix/lib/demo.txt",
        f"prefix/include/site/{interpreter().python_tag}/demo/demo.h",
        f"prefix/{SITE}/extra.py",
        f"prefix/{SITE}/__pycache__/extra.{TAG}.pyc",
        f"prefix/{SITE}/demo/__init__.py",
        f"prefix/{SITE}/demo/__pycache__/__init__.{TAG}.pyc",
        f"prefix/{SITE}/demo/broken.py",
        f"prefix/{SITE}/demo/helper",
        f"prefix/{SITE}/demo/sub.module/x.py",
        f"prefix/{SITE}/demo/sub.module/__pycache__/x.{TAG}.pyc",
        *(
            f"prefix/{SITE}/demo-1.0.dist-info/{name}"
            for name in ("METADATA", "WHEEL", "RECORD", "INSTALLER")
        ),
        f"prefix/{SITE}/demo-1.0.dist-info/entry_points.txt",
    }
    assert wheel.scripts == ("tool",)
    assert [(e.name, e.module, e.attribute, e.gui) for e in wheel.entry_points] == [
        ("demo", "demo", "main", False),
        ("demo-gui", "demo.gui", "App.start", True),
    ]
    assert store.find(wheel.sha256, TAG) == wheel
    assert store.find_many([wheel.sha256, Sha256("0" * 64)], TAG) == {wheel.sha256: wheel}
    assert store.check(wheel) == store.verify(wheel) == ()
    assert not list(cache.scratch.iterdir())


def test_a_tree_is_read_only_and_dated_by_its_hash(cache: Cache, pool: Unpacker, tmp_path: Path) -> None:
    archive = RICH.build(tmp_path)
    wheel = Store(cache).add(archive, expected(archive), pool)
    mtime_ns = tree_mtime_ns(wheel.sha256)
    for path in wheel.tree.rglob("*"):
        status = path.lstat()
        if path.is_dir():
            assert stat.S_IMODE(status.st_mode) == 0o555, path
        elif path.name != "manifest":
            executable = path.name in {"helper", "tool", "binary"}
            assert stat.S_IMODE(status.st_mode) == (0o555 if executable else 0o444), path
            assert status.st_mtime_ns == mtime_ns


def test_bytecode_is_what_the_interpreter_loads_unchecked(
    cache: Cache, pool: Unpacker, tmp_path: Path
) -> None:
    archive = RICH.build(tmp_path)
    wheel = Store(cache).add(archive, expected(archive), pool)
    bytecode = wheel.prefix / SITE / "demo/__pycache__" / f"__init__.{TAG}.pyc"
    content = bytecode.read_bytes()
    assert content[:4] == importlib.util.MAGIC_NUMBER
    assert content[4:8] == b"\1\0\0\0"
    assert content[8:16] == importlib.util.source_hash(b"VALUE = 42\n")
    path = str(wheel.prefix / SITE)
    code = f"import sys; sys.path.insert(0, {path!r}); import demo; print(demo.VALUE, demo.__cached__)"
    answer = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["42", str(bytecode)]


def test_record_is_complete_for_the_place_the_files_have(
    cache: Cache, pool: Unpacker, tmp_path: Path
) -> None:
    archive = RICH.build(tmp_path)
    wheel = Store(cache).add(archive, expected(archive), pool)
    site = wheel.prefix / SITE
    rows = parse_record((site / wheel.dist_info / "RECORD").read_bytes())
    on_disk = {path for path in wheel.prefix.rglob("*") if path.is_file()}
    assert {Path(os.path.normpath(site / row.path)) for row in rows} == on_disk
    for row in rows:
        if row.sha256:
            assert sha256_hex((site / row.path).read_bytes()) == row.sha256


def test_the_merkle_root_of_the_bytes_is_that_of_record_alone(
    cache: Cache, pool: Unpacker, tmp_path: Path
) -> None:
    archive = RICH.build(tmp_path)
    wheel = Store(cache).add(archive, expected(archive), pool)
    rows = [
        row for row in parse_record(RICH.record_text().encode()) if row.sha256 and row.size_bytes is not None
    ]
    assert len(rows) == len(RICH.contents())
    root = wheel_root(wheel_leaf(row.path, row.size_bytes or 0, row.sha256 or Sha256("")) for row in rows)
    assert wheel.merkle_root == root


def test_a_root_that_the_lock_does_not_state_is_refused(cache: Cache, pool: Unpacker, tmp_path: Path) -> None:
    archive = RICH.build(tmp_path)
    store = Store(cache)
    wanted = replace(expected(archive), merkle_root=Sha256("0" * 64))
    with pytest.raises(IntegrityError, match="Merkle root") as caught:
        store.add(archive, wanted, pool)
    assert caught.value.reference == "merkle-mismatch"
    assert store.find(wanted.sha256, TAG) is None
    assert not list(cache.scratch.iterdir())


def test_stronger_hashes_and_missing_sizes_in_record_are_verified(
    cache: Cache, pool: Unpacker, tmp_path: Path
) -> None:
    builder = WheelBuilder()
    rows = [record_row(path, content, "sha512") for path, content in builder.contents().items()]
    rows = [row.rpartition(",")[0] + "," for row in rows]
    archive = replace(builder, record="\n".join([*rows, "demo-1.0.dist-info/RECORD,,"])).build(tmp_path)
    assert Store(cache).add(archive, expected(archive), pool).name == "demo"


def test_the_archive_is_hashed_before_it_is_unpacked(cache: Cache, tmp_path: Path) -> None:
    archive = RICH.build(tmp_path)
    wanted = expected(archive)
    archive.write_bytes(archive.read_bytes() + b"x")
    runner = PlainRunner()
    with unpacker(cache, tmp_path, runner=runner) as pool, pytest.raises(IntegrityError) as caught:
        Store(cache).add(archive, wanted, pool)
    assert caught.value.reference == "wrong-hash"
    assert runner.started == 0


@pytest.mark.parametrize("how", ["edit", "append", "remove", "replace", "mode"])
def test_changes_are_named(cache: Cache, pool: Unpacker, tmp_path: Path, how: str) -> None:
    archive = RICH.build(tmp_path)
    store = Store(cache)
    wheel = store.add(archive, expected(archive), pool)
    victim = wheel.prefix / SITE / "demo/__init__.py"
    victim.parent.chmod(0o755)
    victim.chmod(0o644)
    if how == "edit":
        victim.write_bytes(b"VALUE = 43\n")
    elif how == "append":
        victim.write_bytes(b"VALUE = 42\n#")
    elif how == "remove":
        victim.unlink()
    elif how == "replace":
        victim.unlink()
        victim.symlink_to("/etc/passwd")
    assert store.check(wheel) == (f"{SITE}/demo/__init__.py",)
    assert store.verify(wheel) == (() if how == "mode" else (f"{SITE}/demo/__init__.py",))


def test_one_pool_serves_many_wheels_from_many_threads(cache: Cache, tmp_path: Path) -> None:
    archives = [
        WheelBuilder(name=f"demo{i}", files={f"demo{i}/m{j}.py": b"x = %d\n" % j for j in range(10)}).build(
            tmp_path
        )
        for i in range(12)
    ]
    runner = PlainRunner()
    store = Store(cache)
    with unpacker(cache, tmp_path, runner=runner) as pool, ThreadPoolExecutor(8) as threads:
        added = list(
            threads.map(lambda i: store.add(archives[i], expected(archives[i], f"demo{i}"), pool), range(12))
        )
    assert [wheel.name for wheel in added] == [f"demo{i}" for i in range(12)]
    assert runner.started <= (os.cpu_count() or 1)
    assert len(list(store.trees())) == 12


def test_the_same_wheel_from_two_pools_is_unpacked_once(cache: Cache, tmp_path: Path) -> None:
    archive = RICH.build(tmp_path)
    runners = [PlainRunner(), PlainRunner()]

    def add(runner: PlainRunner) -> object:
        with unpacker(cache, tmp_path, runner=runner) as pool:
            return Store(cache).add(archive, expected(archive), pool)

    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(add, runners)
    assert one == other
    assert sorted(runner.started > 0 for runner in runners) == [False, True]


def test_a_worker_that_dies_is_an_error_and_is_replaced(cache: Cache, tmp_path: Path) -> None:
    archive = RICH.build(tmp_path)

    class Dying(PlainRunner):
        def start(self, argv, **folders):  # type: ignore[no-untyped-def]
            worker = super().start(argv, **folders)
            if self.started == 1:
                worker.process.kill()
            return worker

    with unpacker(cache, tmp_path, runner=Dying()) as pool:
        with pytest.raises(IntegrityError) as caught:
            Store(cache).add(archive, expected(archive), pool)
        assert caught.value.reference == "unpacker-died"
        assert Store(cache).add(archive, expected(archive), pool).name == "demo"


def test_a_full_disk_is_told_as_such(cache: Cache, tmp_path: Path) -> None:
    archive = RICH.build(tmp_path)
    cache.scratch.mkdir(parents=True)

    class Lost(Unpacker):
        def unpack(self, request):  # type: ignore[no-untyped-def]
            remove_tree(request.staging)
            return super().unpack(request)

    pool = Lost(PlainRunner(), interpreter(), readable=(tmp_path,), writable=cache.scratch)
    with pool, pytest.raises(StorageError, match="cannot unpack"):
        Store(cache).add(archive, expected(archive), pool)


@pytest.mark.parametrize("delay_seconds", [0.02, 0.08, 0.12, 0.2])
def test_a_killed_process_leaves_a_store_that_works(
    cache: Cache, tmp_path: Path, delay_seconds: float
) -> None:
    files = {f"demo/m{i}.py": b"x = %d\n" % i for i in range(300)}
    archive = WheelBuilder(files=files).build(tmp_path)
    code = (
        "from pathlib import Path; from pypm.paths import Cache; from pypm.store.wheels import Store\n"
        "from tests.support.wheels import expected, unpacker\n"
        f"archive = Path({str(archive)!r}); cache = Cache(Path({str(cache.root)!r}))\n"
        "print('go', flush=True)\n"
        "Store(cache).add(archive, expected(archive), unpacker(cache, archive.parent))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(delay_seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    store = Store(cache)
    with unpacker(cache, tmp_path) as pool:
        wheel = store.add(archive, expected(archive), pool)
    assert store.verify(wheel) == ()
    store.sweep()
    assert not list(cache.scratch.iterdir())


def test_sweep_removes_leftovers_and_leaves_what_is_in_use(
    cache: Cache, pool: Unpacker, tmp_path: Path
) -> None:
    store = Store(cache)
    dead = cache.scratch / f"{'a' * 64}-{TAG}.01234567"
    (dead / "prefix").mkdir(parents=True)
    (cache.scratch / "other").mkdir()
    assert store.sweep() == 1
    assert [path.name for path in cache.scratch.iterdir()] == ["other"]


def test_remove(cache: Cache, pool: Unpacker, tmp_path: Path) -> None:
    archive = RICH.build(tmp_path)
    store = Store(cache)
    wheel = store.add(archive, expected(archive), pool)
    store.remove(wheel)
    store.remove(wheel)
    assert store.find(wheel.sha256, TAG) is None
    assert list(store.trees()) == []


def test_a_damaged_manifest_is_refused(cache: Cache, pool: Unpacker, tmp_path: Path) -> None:
    archive = RICH.build(tmp_path)
    store = Store(cache)
    wheel = store.add(archive, expected(archive), pool)
    manifest = wheel.tree / "manifest"
    content = manifest.read_bytes()
    manifest.chmod(0o644)
    for damaged in (content[:100], content.replace(b"demo", b"evil", 1), b""):
        manifest.write_bytes(damaged)
        with pytest.raises(IntegrityError):
            store.find(wheel.sha256, TAG)
    for damaged in (content[:-10], content[:-1] + b"!"):
        manifest.write_bytes(damaged)
        assert store.find(wheel.sha256, TAG) == wheel
        with pytest.raises(IntegrityError):
            store.entries(wheel)


def test_manifests_round_trip(cache: Cache, pool: Unpacker, tmp_path: Path) -> None:
    archive = RICH.build(tmp_path)
    store = Store(cache)
    wheel = store.add(archive, expected(archive), pool)
    header, entries = store.entries(wheel)
    content = dump_manifest(wheel, entries, site_packages=header.site_packages, mtime_ns=header.mtime_ns)
    assert content == (wheel.tree / "manifest").read_bytes()
    again = load_header(content, tree=wheel.tree)
    assert (again, load_entries(content, again)) == (header, entries)
    assert [tuple(row) for row in load_rows(content, again)] == [
        (entry.path, entry.mode, entry.size_bytes, entry.sha256) for entry in entries
    ]
    origins = {entry.path: entry.archive_path for entry in entries if not entry.derived}
    assert origins["../scripts/tool"] == "demo-1.0.data/scripts/tool"
    assert origins[f"{SITE}/demo/__init__.py"] == "demo/__init__.py"
    assert set(origins.values()) == set(RICH.contents())


def test_start_up_code_is_reported(cache: Cache, pool: Unpacker, tmp_path: Path) -> None:
    builder = WheelBuilder(
        files={
            "x.pth": b"import os\n",
            "sitecustomize.py": b"",
            "demo/y.pth": b"",
            "usercustomize/__init__.py": b"",
        },
        data={"scripts/ls": b"#!/bin/sh\n"},
        entry_points="[console_scripts]\ngit = demo:main\ndemo = demo:main\n",
    )
    archive = builder.build(tmp_path)
    wheel = Store(cache).add(archive, expected(archive), pool)
    assert wheel.startup_code == (
        "bin/git", "bin/ls", f"{SITE}/sitecustomize.py", f"{SITE}/usercustomize/__init__.py", f"{SITE}/x.pth",
    )  # fmt: skip


def other_interpreters(cache: Cache) -> list[Interpreter]:
    """One interpreter of each minor version on this machine that the inside supports."""
    found = {
        one.python_tag: one for one in find_all(cache.interpreters) if Version(one.version) >= Version("3.8")
    }
    return [one for tag, one in found.items() if tag != interpreter().python_tag]


def test_every_supported_python_runs_the_inside(cache: Cache, tmp_path: Path) -> None:
    others = other_interpreters(cache)
    if not others:
        pytest.skip("this machine has only one Python that is 3.8 or later")
    archive = RICH.build(tmp_path)
    bad = replace(RICH, name="bad", record_extra="../x,,\n").build(tmp_path)
    store = Store(cache)
    roots = set()
    cache.scratch.mkdir(parents=True)
    for python in others:
        with Unpacker(PlainRunner(), python, readable=(tmp_path,), writable=cache.scratch) as pool:
            wheel = store.add(archive, expected(archive), pool)
            with pytest.raises(IntegrityError, match="RECORD"):
                store.add(bad, expected(bad, "bad"), pool)
        roots.add(wheel.merkle_root)
        site = wheel.prefix / f"lib/{python.python_tag}/site-packages"
        assert (site / f"demo/__pycache__/__init__.{python.cache_tag}.pyc").is_file()
        code = f"import sys; sys.path.insert(0, {str(site)!r}); import demo; print(demo.__cached__)"
        done = subprocess.run(
            [str(python.executable), "-I", "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip().endswith(f"{python.cache_tag}.pyc")
    assert len(roots) == 1
    assert len(list(store.trees())) == len(others)


def test_who_waits_for_a_worker_is_sent_away_when_the_pool_is_closed(cache: Cache, tmp_path: Path) -> None:
    pool = unpacker(cache, tmp_path)
    lent = [pool._worker() for _ in range(pool._size)]
    for worker in lent:
        worker.__enter__()
    ended: list[BaseException] = []

    def wait_for_one() -> None:
        try:
            with pool._worker():
                pass
        except UnpackerClosedError as error:
            ended.append(error)

    waiting = [threading.Thread(target=wait_for_one, daemon=True) for _ in range(3)]
    for thread in waiting:
        thread.start()
    pool.close()
    for thread in waiting:
        thread.join(timeout=10)
    assert len(ended) == 3
    for worker in lent:
        worker.__exit__(None, None, None)

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pypm import files
from pypm.errors import StorageError


def test_a_folder_whose_content_is_believed_is_its_users_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files.make_own_folder(tmp_path / "a" / "cache")
    finally:
        os.umask(before)
    for made in (tmp_path / "a", tmp_path / "a" / "cache"):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
    files.make_own_folder(tmp_path / "a" / "cache")
    (tmp_path / "a" / "cache").chmod(0o775)
    files.make_own_folder(tmp_path / "a" / "cache")
    (tmp_path / "a" / "cache").chmod(0o1777)
    with pytest.raises(StorageError, match="written by every user"):
        files.make_own_folder(tmp_path / "a" / "cache")
    (tmp_path / "file").touch()
    files.make_own_folder(tmp_path / "file" / "below")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_another_user_is_not_believed(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(StorageError, match="another user") as caught:
        files.make_own_folder(tmp_path)
    assert caught.value.hint is not None
    assert "chmod" not in caught.value.hint  # It would not make it this user's.


def test_a_write_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "pypm.lock"
    path.write_bytes(b"old")
    files.write_atomically(path, b"new" * 100_000)
    assert path.read_bytes() == b"new" * 100_000
    assert [entry.name for entry in tmp_path.iterdir()] == ["pypm.lock"]


def test_the_mode_is_given_to_the_file(tmp_path: Path) -> None:
    files.write_atomically(tmp_path / "secret", b"", mode=0o600)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pypm.lock"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot write `.*pypm.lock`: No space left") as caught:
        files.write_atomically(path, b"new")
    assert caught.value.reference == "no-space"
    assert "cache prune" in (caught.value.hint or "")
    assert isinstance(caught.value.__cause__, OSError)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["pypm.lock"]


def test_a_link_at_the_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    link = tmp_path / "pypm.lock"
    link.symlink_to(precious)
    files.write_atomically(link, b"new")
    assert precious.read_bytes() == b"precious"
    assert not link.is_symlink()
    assert link.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("number", "reference"),
    [
        (errno.ENOSPC, "no-space"),
        (errno.EDQUOT, "no-space"),
        (errno.EROFS, "read-only-file-system"),
        (errno.EACCES, "permission-denied"),
        (errno.EIO, "disk-error"),
        (errno.ENOTDIR, "storage-failed"),
    ],
)
def test_what_the_disk_refuses_is_told(number: int, reference: str) -> None:
    with (
        pytest.raises(StorageError, match=r"^cannot unpack `x`: ") as caught,
        files.storage_errors("unpack `x`"),
    ):
        raise OSError(number, os.strerror(number))
    assert caught.value.reference == reference
    assert (caught.value.hint is not None) == (reference != "storage-failed")


def test_an_exclusive_lock_excludes_and_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    told: list[str] = []
    with files.locked(path):
        with (
            pytest.raises(StorageError, match=f"still locked by process {os.getpid()}") as caught,
            files.locked(path, timeout_seconds=1.2, on_wait=told.append),
        ):
            raise AssertionError("two exclusive holders")
        assert caught.value.reference == "lock-timeout"
        with pytest.raises(StorageError), files.locked(path, shared=True, timeout_seconds=0):
            raise AssertionError("shared beside exclusive")
    assert len(told) == 1
    assert told[0].startswith(f"process {os.getpid()} (")
    with files.locked(path, timeout_seconds=0, on_wait=told.append):
        pass
    assert len(told) == 1


def test_shared_holders_stand_together_and_keep_an_exclusive_one_out(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        files.locked(path, shared=True),
        files.locked(path, shared=True, timeout_seconds=0),
        pytest.raises(StorageError),
        files.locked(path, timeout_seconds=0),
    ):
        raise AssertionError("exclusive beside shared")


def test_a_waiting_holder_gets_the_lock_when_the_first_one_leaves(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        with files.locked(path, on_wait=lambda _: waiting.set()):
            order.append("second")

    thread = threading.Thread(target=second)
    with files.locked(path):
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    program = (
        "import os, sys, pathlib; from pypm.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read(1); os._exit(9)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(files.__file__).parents[1],
    )
    assert process.stdout is not None
    assert process.stdin is not None
    with process, process.stdout, process.stdin:
        assert process.stdout.readline() == b"held\n"
        with (
            pytest.raises(StorageError, match=f"process {process.pid} "),
            files.locked(path, timeout_seconds=0),
        ):
            raise AssertionError("two holders")
        process.stdin.write(b"x")
        process.stdin.flush()
        assert process.wait(10) == 9
    with files.locked(path, timeout_seconds=0):
        pass


HOLDER = """
import pathlib, sys
from pypm.files import locked
with locked(pathlib.Path(sys.argv[1]), shared=True):
    print("held", flush=True)
    sys.stdin.read(1)
"""


def start_holder(path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(files.__file__).parents[1],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the kernel tells nobody's locks here")
def test_of_shared_holders_one_that_still_stands_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with start_holder(path) as first:
        with start_holder(path) as second:
            second.kill()
        with (
            pytest.raises(StorageError, match=f"still locked by process {first.pid} "),
            files.locked(path, timeout_seconds=0),
        ):
            raise AssertionError("beside a shared holder")
        first.kill()


def test_who_waits_says_for_whom_after_a_moment_and_notices_a_dead_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    told: list[str] = []
    with start_holder(path) as holder:

        def kill(name: str) -> None:
            told.append(name)
            holder.kill()

        with files.locked(path, on_wait=kill, timeout_seconds=20):
            pass
    assert len(told) == 1
    assert told[0].startswith(f"process {holder.pid} (")
    assert holder.returncode == -9


def test_what_a_killed_writer_left_is_swept_but_not_what_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "pypm.lock"
    program = (
        "import os, pathlib, sys\n"
        "from pypm import files\n"
        "files._write_all = lambda *_: (print('writing', flush=True), sys.stdin.read(1))\n"
        "files.write_atomically(pathlib.Path(sys.argv[1]), b'new')"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(files.__file__).parents[1],
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        (tmp_path / ".pypm.lock.of-somebody-else.tmp").touch()
        files.sweep_beside(path)
        assert len(list(tmp_path.iterdir())) == 2
        writer.kill()
    files.sweep_beside(path)
    assert [left.name for left in tmp_path.iterdir()] == [".pypm.lock.of-somebody-else.tmp"]


def test_a_lock_file_removed_while_waiting_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with files.locked(path):
        path.unlink()
        with files.locked(path, timeout_seconds=0):
            assert path.exists()


def test_a_lock_is_never_taken_through_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (tmp_path / "lock").symlink_to(precious)
    with pytest.raises(StorageError, match="cannot lock"), files.locked(tmp_path / "lock"):
        raise AssertionError("locked through a link")
    assert precious.read_bytes() == b"precious"


def test_a_read_only_tree_is_removed_and_links_out_of_it_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "file").touch(0o444)
    (tree / "a" / "link").symlink_to(outside)
    (tree / "a" / "b").chmod(0o000)
    (tree / "a").chmod(0o555)
    tree.chmod(0o555)
    files.remove_tree(tree)
    assert not tree.exists()
    assert (outside / "precious").exists()


def test_removal_takes_files_links_and_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    for name in ("file", "link", "missing"):
        files.remove_tree(tmp_path / name)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_tree_deeper_than_any_path_is_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    descriptor = os.open(tree, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("nested", dir_fd=descriptor)
        inner = os.open("nested", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    files.remove_tree(tree)
    assert not tree.exists()


def test_a_wide_tree_is_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for outer in range(20):
        for inner in range(5):
            folder = tree / str(outer) / str(inner)
            folder.mkdir(parents=True)
            (folder / "file").touch()
    files.remove_tree(tree)
    assert not tree.exists()

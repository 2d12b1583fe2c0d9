"""FIFOs, devices and huge sparse files in the place of each file that pypm reads: one error, or as if absent.

Each command runs as a process of its own with little memory, so that one which waits for a FIFO's writer,
or loads a terabyte of nothing, fails here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import sandbox
from pypm.regular import open_regular, read_regular, read_regular_text
from tests.support.index_server import IndexServer, make_wheel

CHECKOUT = Path(__file__).resolve().parent.parent
_HANGS_SECONDS = 60
_MEMORY_BYTES = 4 << 30
_PROJECT = """\
[project]
name = "p"
version = "1"
requires-python = ">=3.10"
dependencies = ["a"]
[tool.pypm]
package = false
"""
_SIGNED = """\
[tool.pypm.signing]
required = true
allowed-signers = "signers"
"""
_WORKSPACE = """\
[tool.pypm.workspace]
members = ["member"]
"""

_host = sandbox.probe()
_needs_sandbox = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 40)


_KINDS = [pytest.param(kind, id=kind.__name__[1:]) for kind in (_fifo, _device, _sparse)]


@pytest.mark.parametrize("put", _KINDS)
def test_what_is_no_plain_file_is_refused(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / "odd")
    with pytest.raises(OSError, match=r"it is not a regular file|it is larger than 64 MiB"):
        read_regular(tmp_path / "odd")


def test_a_bound_holds_for_what_is_written_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_regular(path, largest_bytes=100) == b"x" * 100
    with pytest.raises(OSError, match="larger"):
        read_regular(path, largest_bytes=99)
    if sys.platform == "linux":
        # The kernel's files state no size, so that only what comes tells.
        with pytest.raises(OSError, match="larger"):
            read_regular(Path("/proc/self/status"), largest_bytes=10)
        assert read_regular(Path("/proc/self/status")).startswith(b"Name:")


def test_a_folder_and_a_missing_file_say_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "missing")


def test_a_text_has_pythons_line_ends(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("a\r\nb\rc\nä".encode())
    assert read_regular_text(tmp_path / "text") == "a\nb\nc\nä"


class _Place:
    """A synced project with a cache of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        self.project, self.cache = folder / "project", folder / "cache"
        self.project.mkdir(parents=True)
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYPM_")},
            "PYTHONPATH": str(CHECKOUT),
            "HOME": str(folder),
            "PYPM_CACHE_DIR": str(self.cache),
            "PYPM_DEFAULT_INDEX": url,
            "PYPM_PYTHON": sys.executable,
        }
        self.write("")

    def write(self, more: str) -> None:
        (self.project / "pyproject.toml").write_text(_PROJECT + more, encoding="utf-8")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run pypm with little memory; what takes a minute hangs."""
        limit = ["prlimit", f"--as={_MEMORY_BYTES}", "--"]
        return subprocess.run(
            [*limit, sys.executable, "-m", "pypm", *words],
            cwd=self.project,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_HANGS_SECONDS,
            check=False,
        )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[_Place]:
    with IndexServer() as server:
        server.add("a", make_wheel("a", "1.0"))
        yield _Place(tmp_path, server.url)


def _refused(done: subprocess.CompletedProcess[str], name: str) -> None:
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode in (1, 2), done.stderr
    assert len(errors) == 1, done.stderr
    assert name in errors[0]
    assert "it is not a regular file" in errors[0] or "it is larger than 64 MiB" in errors[0]


@pytest.mark.parametrize("put", _KINDS)
def test_in_the_place_of_pyproject(place: _Place, put: Callable[[Path], None]) -> None:
    (place.project / "pyproject.toml").unlink()
    put(place.project / "pyproject.toml")
    done = place.run("lock")
    if put is _sparse:
        _refused(done, "pyproject.toml")
    else:
        assert (done.returncode, done.stderr.count("error: ")) == (1, 1), done.stderr
        assert "there is no `pyproject.toml`" in done.stderr


@pytest.mark.parametrize("put", _KINDS)
def test_in_the_place_of_the_lock_and_of_its_signature(place: _Place, put: Callable[[Path], None]) -> None:
    put(place.project / "pypm.lock")
    _refused(place.run("sync", "--frozen"), "pypm.lock")
    (place.project / "pypm.lock").unlink()
    assert place.run("lock").returncode == 0
    place.write(_SIGNED)
    put(place.project / "signers")
    _refused(place.run("sync"), "signers")
    (place.project / "signers").unlink()
    (place.project / "signers").write_text("a ssh-ed25519 AAAA\n")
    put(place.project / "pypm.lock.sig")
    _refused(place.run("sync"), "pypm.lock.sig")


@pytest.mark.parametrize("put", _KINDS)
def test_in_the_place_of_requirements_and_what_they_include(
    place: _Place, put: Callable[[Path], None]
) -> None:
    (place.project / "pyproject.toml").unlink()
    put(place.project / "r.txt")
    _refused(place.run("init", "--from", "r.txt"), "r.txt")
    (place.project / "top.txt").write_text("-c r.txt\na\n")
    _refused(place.run("init", "--from", "top.txt"), "r.txt")


@pytest.mark.parametrize("put", _KINDS)
def test_in_the_place_of_a_members_pyproject(place: _Place, put: Callable[[Path], None]) -> None:
    place.write(_WORKSPACE)
    (place.project / "member").mkdir()
    put(place.project / "member" / "pyproject.toml")
    done = place.run("lock")
    if put is _sparse:
        _refused(done, "member/pyproject.toml")
    else:
        # A folder without the file is no member.
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("put", _KINDS)
def test_in_the_place_of_the_users_settings(place: _Place, put: Callable[[Path], None]) -> None:
    put(place.project / "other.toml")
    _refused(place.run("--config-file", "other.toml", "lock"), "other.toml")


@pytest.mark.parametrize("put", _KINDS)
def test_a_version_file_that_is_none_asks_for_nothing(place: _Place, put: Callable[[Path], None]) -> None:
    put(place.project / ".python-version")
    done = place.run("lock")
    assert done.returncode == 0, done.stderr


@_needs_sandbox
@pytest.mark.parametrize("put", _KINDS)
def test_in_the_place_of_a_script(place: _Place, put: Callable[[Path], None]) -> None:
    put(place.project / "script.py")
    done = place.run("run", "script.py")
    assert done.returncode != 0
    assert "script.py" in done.stderr


@_needs_sandbox
@pytest.mark.parametrize("put", _KINDS)
def test_in_the_store_and_in_the_environment(place: _Place, put: Callable[[Path], None]) -> None:
    assert place.run("lock").returncode == 0
    assert place.run("sync").returncode == 0
    record = next((place.project / ".venv").glob("lib/*/site-packages/a-1.0.dist-info/RECORD"))
    record.unlink()
    put(record)
    done = place.run("verify")
    assert (done.returncode, "RECORD" in done.stdout + done.stderr) == (3, True), done.stderr
    assert place.run("verify", "--repair").returncode == 0
    manifest = next((place.cache / "store-v1").glob("*/*/manifest"))
    manifest.parent.chmod(0o755)
    manifest.unlink()
    put(manifest)
    done = place.run("verify")
    assert done.returncode in (1, 3), done.stderr
    assert "manifest" in done.stdout + done.stderr

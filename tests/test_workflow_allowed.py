"""`allow-net` and `--stats` from the command line, with and without a ready plan, and in a build."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sandbox
from tests.sandbox_egress.cage import echo, server

CHECKOUT = Path(__file__).resolve().parent.parent
_host = sandbox.probe()
pytestmark = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")

CLIENT = """
import socket, sys
sock = socket.create_connection(("localhost", int(sys.argv[1])))
sock.sendall(b"through")
print(sock.recv(7, socket.MSG_WAITALL).decode())
for name in ("evil.example.com", "evil.example.com", "sad.example.com"):
    try: socket.getaddrinfo(name, 443)
    except socket.gaierror: pass
sys.exit(5)
"""
REFUSED = [
    "network: `evil.example.com` refused twice; allow it with --allow-net evil.example.com",
    "network: `sad.example.com` refused once; allow it with --allow-net sad.example.com",
]
BACKEND = """
import socket
def build_editable(*_, **__):
    print("looking", flush=True)
    socket.getaddrinfo("evil.example.com", 443)
build_wheel = build_editable
"""


@pytest.fixture
def port() -> Iterator[int]:
    with server(echo) as (_, number):
        yield number


def _pypm(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    places = {
        "PYPM_CACHE_DIR": str(folder.parent / "cache"),
        "XDG_CONFIG_HOME": str(folder.parent / "config"),
    }
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT), **places}
    program = [sys.executable, "-m", "pypm", *words]
    return subprocess.run(program, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def _project(tmp_path: Path, more: str = "") -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(f'[project]\nname = "p"\nversion = "1"\n{more}')
    (folder / "client.py").write_text(CLIENT)
    return folder


def _told(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("network: ")]


def test_a_listed_host_is_reached_and_refusals_are_told_with_and_without_a_plan(
    tmp_path: Path, port: int
) -> None:
    folder = _project(tmp_path)
    for _ in range(2):
        done = _pypm(folder, "run", f"--allow-net=localhost:{port}", "client.py", str(port))
        assert (done.returncode, done.stdout) == (5, "through\n"), done.stderr
        assert _told(done) == REFUSED
    assert any((tmp_path / "cache" / "plans-v1").iterdir())
    quiet = _pypm(folder, "-q", "run", "--allow-net", f"localhost:{port}", "client.py", str(port))
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (5, "through\n", "")


def test_a_profile_lists_hosts(tmp_path: Path, port: int) -> None:
    table = f'[tool.pypm.sandbox.run]\nallow-net = ["localhost:{port}", "*.example.org"]\n'
    folder = _project(tmp_path, table)
    assert _pypm(folder, "trust", "--yes").returncode == 0
    for _ in range(2):
        done = _pypm(folder, "run", "client.py", str(port))
        assert (done.returncode, done.stdout) == (5, "through\n"), done.stderr
        assert _told(done) == REFUSED


def test_a_host_that_cannot_be_meant_is_one_clear_error(tmp_path: Path) -> None:
    done = _pypm(_project(tmp_path), "run", "--allow-net=https://example.com/x", "true")
    assert done.returncode == 2
    assert "write the name without scheme and path" in done.stderr
    done = _pypm(tmp_path / "project", "run", "--allow-net=10.0.0.0/8", "true")
    assert done.returncode == 125
    assert "names the network `10.0.0.0/8` and no host" in done.stderr


def test_a_build_tells_its_refusals_with_the_key_that_allows_them(tmp_path: Path) -> None:
    build = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    table = '[tool.pypm.sandbox.build]\nallow-net = ["files.example.com"]\n'
    folder = _project(tmp_path, build + table)
    (folder / "backend.py").write_text(BACKEND)
    assert _pypm(folder, "trust", "--yes").returncode == 0
    done = _pypm(folder, "sync")
    assert done.returncode == 1
    assert (
        "network: `evil.example.com` refused once; "
        "allow it with `allow-net` in [tool.pypm.sandbox.build]: evil.example.com"
    ) in done.stderr


def test_a_build_that_meets_a_limit_says_which(tmp_path: Path) -> None:
    build = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    table = '[tool.pypm.sandbox.build]\ncpu-time = "1s"\n'
    folder = _project(tmp_path, build + table)
    (folder / "backend.py").write_text("def build_editable(*_, **__):\n    while True: pass\n")
    done = _pypm(folder, "sync")
    assert done.returncode == 1
    assert "was ended: the limit of 1 seconds of processor time was reached" in done.stderr


def test_stats_are_told_and_written(tmp_path: Path, port: int) -> None:
    folder = _project(tmp_path)
    told = tmp_path / "stats.json"
    flags = ("--stats", "--stats-file", str(told), f"--allow-net=localhost:{port}")
    done = _pypm(folder, "run", *flags, "client.py", str(port))
    assert done.returncode == 5
    names = [line.split("  ")[0] for line in done.stderr.splitlines()[-4:]]
    assert names == ["wall time", "cpu time", "peak memory", "processes"]
    data = json.loads(told.read_text())
    assert data["exit-code"] == 5
    assert data["usage"]["processes"] >= 1 and data["usage"]["peak-memory-bytes"] > 1 << 20
    assert data["network"]["traffic"][0]["sent_bytes"] == len("through")
    assert [each["name"] for each in data["network"]["refused_names"]] == [
        "evil.example.com",
        "sad.example.com",
    ]


def test_a_command_that_exchanges_the_folder_of_its_account_for_a_link(tmp_path: Path) -> None:
    folder = _project(tmp_path)
    (folder / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    script = f"mv out moved; ln -s {tmp_path}/elsewhere out"
    assert _pypm(folder, "run", "--stats-file", "out/told.json", "sh", "-c", script).returncode == 0
    assert not [*(tmp_path / "elsewhere").iterdir()]
    assert json.loads((folder / "moved" / "told.json").read_text())["exit-code"] == 0


def test_an_account_without_a_folder_is_refused_before_anything_runs(tmp_path: Path) -> None:
    folder = _project(tmp_path)
    done = _pypm(folder, "run", "--stats-file", "out/told.json", "touch", "ran")
    assert done.returncode == 1 and "cannot write `out/told.json`" in done.stderr
    assert not (folder / "ran").exists()


def test_a_limit_of_the_profile_says_what_ended_the_command(tmp_path: Path) -> None:
    folder = _project(tmp_path, '[tool.pypm.sandbox.run]\nfile-size = "1M"\noutput = "1K"\ntmp-size = "8M"\n')
    for _ in range(2):
        done = _pypm(folder, "run", "dd", "if=/dev/zero", "of=big", "bs=1M", "count=2")
        assert done.returncode == 128 + 25
        assert "error: `dd` was ended: the file size limit of 1 MiB was reached" in done.stderr
        assert "hint: `file-size` in [tool.pypm.sandbox.run] sets the limit" in done.stderr
        done = _pypm(folder, "run", "sh", "-c", "yes; exit 0")
        assert len(done.stdout) == 1024
        assert "limit: the output limit of 1 KiB was reached: the rest was cut off" in done.stderr
        done = _pypm(
            folder,
            "run",
            "sh",
            "-c",
            "for i in 1 2 3 4 5 6 7 8 9 10; do head -c 900000 /dev/zero > /tmp/$i || exit 1; done",
        )
        assert done.returncode == 1
        assert "limit: the limit of 8 MiB for temporary files was reached" in done.stderr
    assert _pypm(folder, "run", "sh", "-c", "head -c 900000 /dev/zero > /tmp/x").returncode == 0

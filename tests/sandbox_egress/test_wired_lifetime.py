"""A run with an allow-list ends like any other, whatever its connections do: signals, kills, terminals."""

from __future__ import annotations

import marshal
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import sandbox
from sandbox import Mount, Network, Policy, Terminal
from tests.sandbox_egress.cage import echo, server

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 20.0
PROGRAM = """
import marshal, sys
sys.path.insert(0, sys.argv[1])
from sandbox import replay
with open(sys.argv[2], "rb") as stream:
    plan = marshal.load(stream)
sys.exit(replay(plan, tuple(sys.argv[3:]), "/"))
"""
CLIENT = """
import os, signal, socket, sys, time
sock = socket.create_connection(("localhost", int(sys.argv[1])))
sock.sendall(b"up")
def end(*_):
    sock.sendall(b"!"); os.write(1, sock.recv(1) + b"\\n"); os._exit(7)
signal.signal(signal.SIGINT, end)
print("ready", sock.recv(2).decode(), sys.argv[2], flush=True)
time.sleep(60)
"""

pytestmark = pytest.mark.skipif(
    not sandbox.probe().namespaces, reason=sandbox.probe().cause or "no user namespaces"
)


@pytest.fixture
def port() -> Iterator[int]:
    with server(echo) as (_, number):
        yield number


def _plan(folder: Path, port: int, terminal: Terminal = Terminal.DETACHED) -> str:
    prefixes = dict.fromkeys((sys.prefix, sys.base_prefix))
    policy = Policy(
        mounts=tuple(Mount.bind(path) for path in prefixes),
        network=Network.hosts(("localhost", port)),
        environment=(("PATH", f"{sys.prefix}/bin:/usr/bin:/bin"),),
        terminal=terminal,
    )
    path = folder / "plan"
    path.write_bytes(marshal.dumps(sandbox.prepare(policy)))
    return str(path)


def _start(folder: Path, port: int) -> tuple[subprocess.Popen[str], str]:
    """Start a client that waits, and return once it is connected; the second is how to find it."""
    marker = f"marker{time.monotonic_ns()}"
    words = [sys.executable, "-I", "-c", PROGRAM, str(CHECKOUT), _plan(folder, port)]
    argv = ["python", "-c", CLIENT, str(port), marker]
    started = subprocess.Popen([*words, *argv], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == f"ready up {marker}\n"
    return started, marker


def _running(marker: str) -> bool:
    return any(marker in (each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"]))


def test_ctrl_c_reaches_the_client_which_can_still_talk(tmp_path: Path, port: int) -> None:
    started, marker = _start(tmp_path, port)
    started.send_signal(signal.SIGINT)
    out, _ = started.communicate(timeout=PATIENCE_SECONDS)
    assert (started.returncode, out) == (7, "!\n")
    assert not _running(marker)


def test_a_second_ctrl_c_ends_what_ignores_the_first(tmp_path: Path, port: int) -> None:
    started, marker = _start(tmp_path, port)
    with pytest.raises(subprocess.TimeoutExpired):
        started.wait(0.1)
    started.send_signal(signal.SIGINT)
    started.send_signal(signal.SIGINT)
    assert started.wait(PATIENCE_SECONDS) in (7, 128 + signal.SIGKILL)
    assert not _running(marker)
    assert started.stdout is not None
    started.stdout.close()


def test_a_killed_supervisor_takes_the_client_along(tmp_path: Path, port: int) -> None:
    started, marker = _start(tmp_path, port)
    started.kill()
    started.communicate(timeout=PATIENCE_SECONDS)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _running(marker):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_terminal_session_has_the_network_too(tmp_path: Path, port: int) -> None:
    pid, master = pty.fork()
    if pid == 0:
        plan = _plan(tmp_path, port, Terminal.PTY)
        words = [sys.executable, "-I", "-c", PROGRAM, str(CHECKOUT), plan, "sh"]
        os.execv(sys.executable, words)
    shown = b""
    script = (
        "import socket; s = socket.create_connection(('localhost', %d)); s.sendall(b'a'); "
        "print(s.recv(1) * 9)"
    )
    typed = f'python -c "{script % port}"; exit 4\n'.encode()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.5)[0]:
            try:
                shown += os.read(master, 65536)
            except OSError:
                break
        if typed and b"$ " in shown:
            os.write(master, typed)
            typed = b""
    os.close(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4, shown
    assert b"aaaaaaaaa" in shown


def test_sandboxes_beside_each_other_from_one_process(port: int) -> None:
    policy = Policy(
        mounts=tuple(Mount.bind(path) for path in dict.fromkeys((sys.prefix, sys.base_prefix))),
        network=Network.hosts(("localhost", port)),
    )
    script = (
        "import socket, sys; s = socket.create_connection(('localhost', int(sys.argv[1]))); "
        "s.sendall(b'x'); s.recv(1)"
    )
    command = sandbox.Command(argv=(sys.executable, "-c", script, str(port)))
    started = [sandbox.spawn(policy, command) for _ in range(4)]
    for process in started:
        with process:
            status = process.wait(PATIENCE_SECONDS)
        assert status.code == 0 and status.network is not None
        assert [each.connections for each in status.network.traffic] == [1]


def test_a_set_up_that_fails_tells_its_own_reason_and_not_that_of_the_sockets() -> None:
    policy = Policy(network=Network.hosts(("localhost", 1)), mounts=(Mount.bind("/nowhere/at/all"),))
    with pytest.raises(sandbox.SetupError, match="/nowhere/at/all") as caught:
        sandbox.run(policy, sandbox.Command(argv=("true",)))
    assert caught.value.stage.startswith("bind")

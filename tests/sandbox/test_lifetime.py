"""Nothing outlives the command or the supervisor; signals reach the command; limits end it."""

from __future__ import annotations

import fcntl
import marshal
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

import sandbox
from sandbox import Command, Isolation, Limits, Mount, Policy, run, spawn
from tests.sandbox.conftest import ENVIRONMENT, FORK, REPLAY, ROOT, policy, python, shell

pytestmark = pytest.mark.usefixtures("namespaces")
_PATIENCE_SECONDS = 10.0


def _eventually(condition: object) -> bool:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.01)
    return False


def _running(marker: str) -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if marker in (process.info["cmdline"] or []):
            found.append(process.pid)
    return found


def _ready(project: Path) -> None:
    assert _eventually((project / "ready").exists)


def test_a_daemon_dies_with_the_command(project: Path) -> None:
    marker = f"4{time.monotonic_ns() % 10**9}"
    script = f"setsid -f sleep {marker}; nohup sleep {marker} >/dev/null 2>&1 & exit 3"
    assert run(policy(), Command(argv=shell(script))).returncode == 3
    assert _running(marker) == []


@pytest.mark.parametrize("way", ["spawn", "replay", "fork"])
def test_killing_the_supervisor_leaves_no_process_and_no_placeholder(project: Path, way: str) -> None:
    marker = f"5{time.monotonic_ns() % 10**9}"
    configuration = policy(Mount.bind(str(project), writable=True), Mount.protect(f"{project}/pypm.lock"))
    argv = shell(f"setsid -f sleep {marker}; touch ready; sleep {marker}")
    if way != "spawn":
        (project / "plan").write_bytes(marshal.dumps(sandbox.prepare(configuration)))
        program = REPLAY if way == "replay" else FORK
        words = ["-I", "-c", program, str(ROOT), str(project / "plan"), str(project), *argv]
    else:
        script = (
            "import json, sys; sys.path.insert(0, sys.argv[1]); import sandbox\n"
            "policy = sandbox.Policy.from_plain(json.loads(sys.argv[2]))\n"
            "sandbox.run(policy, sandbox.Command(argv=tuple(sys.argv[4:]), cwd=sys.argv[3]))\n"
        )
        import json

        plain = json.dumps(configuration.to_plain())
        words = ["-c", script, str(ROOT), plain, str(project), *argv]
    supervisor = subprocess.Popen([sys.executable, *words])
    try:
        _ready(project)
        assert _eventually(lambda: len(_running(marker)) == 2)
    finally:
        supervisor.kill()
        supervisor.wait()
    assert _eventually(lambda: not _running(marker))
    assert _eventually(lambda: not (project / "pypm.lock").exists())


def test_kill_and_terminate() -> None:
    with spawn(policy(), Command(argv=("/bin/sleep", "60"))) as process:
        with pytest.raises(TimeoutError):
            process.wait(timeout=0.2)
        assert process.poll() is None
        process.terminate()
        assert process.wait().signal == signal.SIGTERM
    with spawn(policy(), Command(argv=("/bin/sleep", "60"))) as process:
        process.kill()
        assert process.wait().returncode == 137


def test_leaving_the_block_ends_the_sandbox(project: Path) -> None:
    marker = f"6{time.monotonic_ns() % 10**9}"
    with spawn(policy(), Command(argv=("/bin/sleep", marker))):
        assert _eventually(lambda: _running(marker))
    assert _running(marker) == []


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1]
)
def test_signals_reach_the_command(project: Path, number: signal.Signals) -> None:
    name = number.name[3:]
    script = f"trap 'echo caught >ready2; exit 9' {name}; touch ready; while :; do sleep 0.02; done"
    configuration = policy(Mount.bind(str(project), writable=True))
    with spawn(configuration, Command(argv=shell(script), cwd=str(project))) as process:
        _ready(project)
        process.send_signal(number)
        assert process.wait().code == 9
    assert (project / "ready2").exists()


def test_a_second_interrupt_kills(project: Path) -> None:
    script = "trap '' INT; touch ready; while :; do sleep 0.02; done"
    configuration = policy(Mount.bind(str(project), writable=True))
    with spawn(configuration, Command(argv=shell(script), cwd=str(project))) as process:
        _ready(project)
        process.send_signal(signal.SIGINT)
        with pytest.raises(TimeoutError):
            process.wait(timeout=0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait().signal == signal.SIGKILL


def test_suspend_and_resume(project: Path) -> None:
    script = "while :; do date +%N >>ticks; sleep 0.02; done"
    configuration = policy(Mount.bind(str(project), writable=True))
    with spawn(configuration, Command(argv=shell(script), cwd=str(project))) as process:
        assert _eventually((project / "ticks").exists)
        process.send_signal(signal.SIGTSTP)
        assert _eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        time.sleep(0.1)
        before = (project / "ticks").stat().st_size
        time.sleep(0.2)
        assert (project / "ticks").stat().st_size == before
        os.kill(process.pid, signal.SIGCONT)
        assert _eventually(lambda: (project / "ticks").stat().st_size > before)


def test_wall_clock_limit() -> None:
    status = run(policy(limits=Limits(wall_clock_seconds=0.3)), Command(argv=("/bin/sleep", "60")))
    assert (status.returncode, status.timed_out, status.limit) == (124, True, "wall_clock_seconds")


def test_the_flags_of_streams_are_put_back() -> None:
    """They belong to whoever else has the stream open: a shell, the next command of a pipeline."""
    script = "import fcntl, os\nfor n in (0, 1): fcntl.fcntl(n, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)"
    ours, theirs = os.pipe()
    before = [fcntl.fcntl(end, fcntl.F_GETFL) for end in (ours, theirs)]
    assert run(policy(), Command(argv=python(script), stdin=ours, stdout=theirs)).returncode == 0
    assert [fcntl.fcntl(end, fcntl.F_GETFL) for end in (ours, theirs)] == before
    os.close(ours)
    os.close(theirs)


def test_watching_files_is_left_to_the_caller_too() -> None:
    script = """
import ctypes
libc, taken = ctypes.CDLL(None), 0
while libc.inotify_init1(0) >= 0: taken += 1
print(taken, flush=True)
input()
"""
    reading, told = os.pipe()
    typed, typing = os.pipe()
    with spawn(policy(), Command(argv=python(script), stdin=typed, stdout=told)) as process:
        taken = int(os.read(reading, 64))
        allowed = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
        assert 0 < taken <= allowed // 2
        assert run(policy(), Command(argv=("/bin/true",))).returncode == 0
        os.write(typing, b"\n")
        assert process.wait().returncode == 0
    for descriptor in (reading, told, typed, typing):
        os.close(descriptor)


def test_resource_limits(project: Path) -> None:
    limits = Limits(file_size_bytes=1 << 20, open_files=32, cpu_seconds=1)
    script = """
import os, resource
names = ("FSIZE", "NOFILE", "CORE", "CPU")
print([resource.getrlimit(getattr(resource, "RLIMIT_" + n)) for n in names])
try:
    while True: os.dup(0)
except OSError as error: print(error.errno)
"""
    # At 1 the kernel starts no handler; where the caller's own limit is lower it cannot be raised.
    core = (1, 1) if resource.getrlimit(resource.RLIMIT_CORE)[1] else (0, 0)
    read_end, write_end = os.pipe()
    assert run(policy(limits=limits), Command(argv=python(script), stdout=write_end)).returncode == 0
    os.close(write_end)
    with os.fdopen(read_end) as stream:
        assert stream.read().splitlines() == [
            str([(1 << 20,) * 2, (32, 32), core, (1, 2)]),
            "24",
        ]
    status = run(policy(limits=limits), Command(argv=shell("while :; do :; done")))
    assert (status.signal, status.limit) == (signal.SIGXCPU, "cpu_seconds")
    assert (
        run(policy(limits=limits), Command(argv=shell("head -c 2000000 /dev/zero >/tmp/x"))).returncode != 0
    )


def test_usage_is_accounted() -> None:
    script = "import os; pid = os.fork(); x = bytearray(60 << 20); sum(range(3000000)); pid and os.wait()"
    usage = run(policy(), Command(argv=python(script))).usage
    assert usage.peak_memory_bytes > 60 << 20
    assert usage.user_seconds + usage.system_seconds > 0.02
    with spawn(policy(), Command(argv=("/bin/sleep", "60"))) as process:
        assert _eventually(lambda: process.usage.peak_memory_bytes > 0)


def test_many_at_once_from_threads() -> None:
    codes: list[int] = []

    def one(number: int) -> None:
        codes.append(run(policy(), Command(argv=shell(f"exit {number}"))).returncode)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == list(range(6))


def test_pipes_end_when_the_command_closes_them() -> None:
    read_end, write_end = os.pipe()
    with spawn(policy(), Command(argv=shell("echo done; exec >&-; sleep 60"), stdout=write_end)) as process:
        os.close(write_end)
        assert os.read(read_end, 100) == b"done\n"
        assert process.poll() is None
        process.kill()
    os.close(read_end)


def test_no_isolation_by_name() -> None:
    read_end, write_end = os.pipe()
    configuration = Policy(isolation=Isolation.NONE, environment=ENVIRONMENT)
    argv = shell("env; ps -o sid= -p $$; exit 4")
    assert run(configuration, Command(argv=argv, stdout=write_end)).returncode == 4
    os.close(write_end)
    with os.fdopen(read_end) as stream:
        content = stream.read()
    assert "LANG=C.UTF-8" in content and "HOME" not in content
    assert int(content.split()[-1]) != os.getsid(0)


def test_the_probe_is_honest() -> None:
    host = sandbox.probe()
    assert host.namespaces and host.failed_stage is None and host.boot_id
    assert sandbox.probe() is host


FORKS = """
import marshal, os, sys
sys.path.insert(0, sys.argv[1])
from sandbox import fork_plan
with open(sys.argv[2], "rb") as stream:
    plan = marshal.load(stream)
first = fork_plan(plan, ("/bin/sh", "-c", "echo; " + sys.argv[3]), (0, 1, 2))
second = fork_plan(plan, ("/bin/sh", "-c", "echo; ls /proc/self/fd;  " + sys.argv[3]), (0, 1, 2))
sys.stdin.read(1)
first.end()
first.end()
print(first.wait(), flush=True)
sys.stdin.read(1)
second.send_signal(15)
print(second.as_process().wait().returncode, flush=True)
"""


def test_forked_sandboxes_end_one_by_one(project: Path) -> None:
    marker = f"8{time.monotonic_ns() % 10**9}"
    (project / "plan").write_bytes(marshal.dumps(sandbox.prepare(policy())))
    words = [sys.executable, "-I", "-c", FORKS, str(ROOT), str(project / "plan"), f"exec sleep {marker}"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None and running.stdout is not None
        assert _eventually(lambda: len(_running(marker)) == 2)
        running.stdin.write(b"x")
        running.stdin.flush()
        assert _eventually(lambda: len(_running(marker)) == 1)
        running.stdin.write(b"x")
        running.stdin.flush()
        # Each has its three streams, and what `ls` itself has opened.
        assert running.stdout.read().split() == [b"0", b"1", b"2", b"3", b"0", b"143"]

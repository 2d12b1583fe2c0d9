"""Limits of the whole tree: kept by a control group where this host gives one, by older means elsewhere."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sandbox
from sandbox import Command, Limits, Mount, Policy, run, spawn
from sandbox.command import Reached
from sandbox.linux import cgroup, cgroup_places
from sandbox.linux.sampling import Sampler
from tests.sandbox.conftest import ENVIRONMENT, ROOT, policy, run_replayed, shell

pytestmark = pytest.mark.usefixtures("namespaces")
MIB = 1 << 20
PLACES = cgroup_places.find(frozenset({"memory", "pids", "cpu"}))[0]
OFFERED = frozenset[str]().union(*(place.controllers for place in PLACES))


def needs(controller: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        controller not in OFFERED, reason=f"no control group that counts `{controller}` can be made here"
    )


def _has_group(supervisor: int) -> bool:
    """Others on this machine have sandboxes, too: the name says whose a group is."""
    name = f"{cgroup.PREFIX}{supervisor}-*"
    return any(any(Path(place.path).glob(name)) for place in PLACES)


def _limited(**limits: float) -> Policy:
    return policy(Mount.bind(sys.base_prefix), limits=Limits(**limits))  # type: ignore[arg-type]


def _python(script: str) -> tuple[str, ...]:
    return (f"{sys.base_prefix}/bin/python3", "-c", script)


@needs("memory")
def test_memory_is_that_of_all_processes_together_and_of_temporary_files() -> None:
    child = "x = bytearray(1) * (40 << 20); import time; time.sleep(2)"
    script = f"for i in 1 2 3; do {sys.base_prefix}/bin/python3 -c '{child}' & done; wait"
    status = run(_limited(memory_bytes=100 * MIB), Command(argv=shell(script)))
    assert [each.limit for each in status.reached] == ["memory_bytes"]
    assert status.limit is None
    fill = "head -c 150000000 /dev/zero >/tmp/x; echo not reached"
    status = run(_limited(memory_bytes=100 * MIB), Command(argv=shell(fill)))
    assert (status.signal, status.limit) == (signal.SIGKILL, "memory_bytes")
    assert "memory limit of 100 MiB" in status.reached[0].sentence


@needs("memory")
def test_a_command_that_was_killed_for_memory_is_told_so_by_replay_as_well() -> None:
    ended = run_replayed(_limited(memory_bytes=64 * MIB), _python("x = bytearray(b'x') * (200 << 20)"))
    assert ended.returncode == 128 + signal.SIGKILL


@needs("pids")
def test_processes_are_counted_for_root_too() -> None:
    script = "n=0; while [ $n -lt 12 ]; do sleep 5 & n=$((n+1)); done; echo all"
    status = run(_limited(processes=5), Command(argv=shell(script)))
    assert status.code == 2
    assert status.reached == (Reached(limit="processes", value=5, count=1),)
    exactly = run(_limited(processes=4), Command(argv=shell("sleep 0 & sleep 0 & sleep 0 & wait")))
    assert (exactly.code, exactly.reached) == (0, ())


@needs("cpu")
def test_a_part_of_a_processor() -> None:
    script = """
import time
end, before = time.time() + 1, time.process_time()
while time.time() < end: pass
print(time.process_time() - before)
"""
    read_end, write_end = os.pipe()
    run(_limited(cpus=0.2), Command(argv=_python(script), stdout=write_end))
    os.close(write_end)
    with os.fdopen(read_end) as stream:
        assert float(stream.read()) < 0.5


def test_processors_cannot_be_chosen_again_where_they_are_limited() -> None:
    script = "import os\ntry: os.sched_setaffinity(0, range(64))\nexcept PermissionError: raise SystemExit(9)"
    assert run(_limited(cpus=1), Command(argv=_python(script))).code == 9
    assert run(_limited(), Command(argv=_python(script))).code == 0


@pytest.mark.skipif(not PLACES, reason="no control group can be made here")
def test_the_group_is_gone_afterwards_also_when_the_supervisor_was_killed() -> None:
    configuration = _limited(memory_bytes=1 << 30) if "memory" in OFFERED else _limited(processes=100)
    with spawn(configuration, Command(argv=shell("sleep 60"))) as process:
        deadline = time.monotonic() + 60
        while not _has_group(process.pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        while _has_group(process.pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    with spawn(configuration, Command(argv=("true",))) as process:
        process.wait()
        assert not _has_group(process.pid)


WITHOUT_GROUPS = """
import os, sys
sys.path.insert(0, sys.argv[1])
from sandbox.linux import cgroup_places
cgroup_places._trees = lambda: ()
import marshal
from sandbox.linux.launch import replay_outcome
from sandbox import SandboxError
try:
    ended = replay_outcome(marshal.load(sys.stdin.buffer), tuple(sys.argv[2:]), "/")
    print(ended.returncode, ended.reached, ended.memory_of, ended.processes, ended.peak_memory_bytes >> 20)
except SandboxError as error:
    print(type(error).__name__, error.message, error.hint)
"""


def _without_groups(plan: dict[str, object], *argv: str) -> str:
    """Run a plan as on a host where no control group can be made."""
    import marshal

    words = [sys.executable, "-c", WITHOUT_GROUPS, str(ROOT), *argv]
    return subprocess.run(words, input=marshal.dumps(plan), capture_output=True, check=True).stdout.decode()


def test_it_can_be_asked_who_keeps_what(monkeypatch: pytest.MonkeyPatch) -> None:
    told = sandbox.keepers()
    assert list(told) == ["memory_bytes", "processes", "cpus"]
    for name, keeper in told.items():
        assert keeper.kept.startswith("control group version ") is (cgroup.CONTROLLERS[name] in OFFERED)
    monkeypatch.setattr(cgroup_places, "_trees", lambda: ())
    memory = sandbox.keepers()["memory_bytes"]
    assert memory.because == ("no control group file system is mounted",)
    assert memory.sentence == "of each process alone (no control group file system is mounted)"


def test_without_a_group_memory_is_bound_for_each_process() -> None:
    plan = sandbox.prepare(_limited(memory_bytes=1 << 29))
    script = "import resource; assert resource.getrlimit(resource.RLIMIT_AS) == (1 << 29, 1 << 29)"
    assert _without_groups(plan, *_python(script)).startswith("0 ()")


@pytest.mark.skipif(os.cpu_count() == 1, reason="one processor cannot be limited to fewer")
def test_without_a_group_whole_processors_can_be_had_and_parts_are_refused() -> None:
    count = "import os; raise SystemExit(len(os.sched_getaffinity(0)))"
    assert _without_groups(sandbox.prepare(_limited(cpus=1)), *_python(count)).startswith("1 ()")
    told = _without_groups(sandbox.prepare(_limited(cpus=0.5)), "true")
    assert told.startswith("UnsupportedError the limit `cpus` cannot be kept on this host: ")
    assert "a whole number can be had, such as 1" in told


def test_without_a_group_root_is_told_that_its_processes_are_not_counted() -> None:
    told = _without_groups(sandbox.prepare(_limited(processes=50)), "true")
    if os.geteuid():
        assert told.startswith("0 ()")
    else:
        assert told.startswith(
            "UnsupportedError the limit `processes` cannot be kept on this host: the kernel"
        )


def test_without_a_group_memory_is_looked_at_now_and_then() -> None:
    plan = sandbox.counted(sandbox.prepare(_limited()))
    child = "x = bytearray(b'x') * (60 << 20); import time; time.sleep(0.5)"
    code, _, measured, processes, peak = _without_groups(plan, *_python(child)).split()
    assert (code, measured, processes) == ("0", "samples", "1")
    assert int(peak) >= 60


def test_without_psutil_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    sampler = Sampler()
    sampler.begin(os.getpid())
    assert sampler.close() == 0


def test_output_is_cut_at_its_limit_and_exact_below_it() -> None:
    for limit, cut in ((1000, True), (3000, False)):
        read_end, write_end = os.pipe()
        command = Command(argv=_python("import sys; sys.stdout.write('x' * 2000)"), stdout=write_end)
        status = run(_limited(output_bytes=limit), command)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as stream:
            assert stream.read() == b"x" * min(limit, 2000)
        assert [each.limit for each in status.reached] == (["output_bytes"] if cut else [])


def test_who_writes_on_after_the_cut_finds_the_pipe_closed() -> None:
    with Path(os.devnull).open("wb") as nowhere:
        command = Command(argv=("yes",), stdout=nowhere.fileno())
        status = run(_limited(output_bytes=100_000), command)
    assert (status.signal, status.limit) == (signal.SIGPIPE, "output_bytes")


def test_both_streams_keep_their_order_where_they_lead_to_one_place() -> None:
    read_end, write_end = os.pipe()
    command = Command(
        argv=shell("for i in 1 2 3; do echo o; echo e >&2; done"), stdout=write_end, stderr=write_end
    )
    run(_limited(output_bytes=1000), command)
    os.close(write_end)
    with os.fdopen(read_end) as stream:
        assert stream.read() == "o\ne\n" * 3


def test_a_file_that_grows_too_large_is_told() -> None:
    status = run(
        _limited(file_size_bytes=MIB), Command(argv=("dd", "if=/dev/zero", "of=/tmp/x", "bs=1M", "count=2"))
    )
    assert (status.signal, status.limit) == (signal.SIGXFSZ, "file_size_bytes")
    assert status.reached[0].sentence == "the file size limit of 1 MiB was reached"


def test_the_temporary_folder_has_a_size() -> None:
    small = Policy(environment=ENVIRONMENT, temporary_size_bytes=MIB)
    status = run(small, Command(argv=shell("head -c 2000000 /dev/zero >/tmp/x 2>/dev/null")))
    assert (status.code, status.limit) == (1, None)
    assert [each.sentence for each in status.reached] == [
        "the limit of 1 MiB for temporary files was reached"
    ]
    status = run(small, Command(argv=shell("head -c 900000 /dev/zero >/tmp/x")))
    assert (status.code, status.reached) == (0, ())


@pytest.mark.parametrize("folder", ["/dev/shm", "$HOME"])
def test_every_folder_in_memory_that_is_full_is_told(folder: str) -> None:
    small = Policy(environment=ENVIRONMENT, temporary_size_bytes=MIB, home="/home/u")
    status = run(small, Command(argv=shell(f"head -c 2000000 /dev/zero >{folder}/x 2>/dev/null; exit 0")))
    assert (status.code, [each.limit for each in status.reached]) == (0, ["temporary_size_bytes"])


def test_stats_tell_of_the_whole_tree() -> None:
    child = "import time; x = bytearray(b'x') * (30 << 20); time.sleep(0.5)"  # Samples come across it.
    script = f'{sys.base_prefix}/bin/python3 -c "{child}" & {sys.base_prefix}/bin/python3 -c "{child}"; wait'
    usage = run(_limited(), Command(argv=shell(script), stats=True)).usage
    assert usage.processes == 3
    assert usage.peak_memory_bytes >= 30 * MIB
    assert usage.user_seconds > 0 and usage.wall_seconds > 0
    assert usage.memory_of == ("group" if "memory" in OFFERED else "samples")
    assert run(_limited(), Command(argv=("true",))).usage.memory_of == "process"


@pytest.mark.parametrize(
    ("reached", "sentence"),
    [
        (
            Reached(limit="memory_bytes", value=512 * MIB, count=2),
            "512 MiB was reached: 2 processes were killed",
        ),
        (
            Reached(limit="memory_bytes", value=1.5 * 1024 * MIB, count=1),
            "of 1.5 GiB was reached: a process was",
        ),
        (
            Reached(limit="processes", value=9, count=3),
            "the limit of 9 processes was reached: refused 3 times",
        ),
        (Reached(limit="output_bytes", value=1000, count=1), "the output limit of 1000 bytes was reached"),
    ],
)
def test_sentences(reached: Reached, sentence: str) -> None:
    assert sentence in reached.sentence


def test_both_versions_of_mount_tables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/self/cgroup": ["4:memory:/a/b", "3:cpu,cpuacct:/", "1:name=systemd:/x", "0::/user.slice/me"],
        "/proc/self/mountinfo": [
            "30 20 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate",
            "31 20 0:27 / /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory",
            "32 20 0:28 / /sys/fs/cgroup/cpu\\040here rw - cgroup cgroup rw,cpu,cpuacct",
            "33 20 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd",
            "34 20 0:30 /a /elsewhere rw - cgroup cgroup rw,memory",
            "35 20 0:31 /other /hidden rw - cgroup cgroup rw,memory",
            "36 20 0:32 / /proc rw - proc proc rw",
        ],
    }
    monkeypatch.setattr(cgroup_places, "_lines", lambda path: files.get(path, []))
    found = {(tree.version, tree.own, tree.controllers) for tree in cgroup_places._trees()}
    assert found == {
        (2, "/sys/fs/cgroup/unified/user.slice/me", frozenset()),
        (1, "/sys/fs/cgroup/memory/a/b", frozenset({"memory"})),
        (1, "/sys/fs/cgroup/cpu here", frozenset({"cpu", "cpuacct"})),
        (1, "/sys/fs/cgroup/systemd/x", frozenset({"name=systemd"})),
        (1, "/elsewhere/b", frozenset({"memory"})),
    }


TERMINAL = """
import sys
sys.path.insert(0, sys.argv[1])
import sandbox
policy = sandbox.Policy(
    terminal=sandbox.Terminal.PTY,
    environment=(("PATH", "/usr/bin:/bin"),),
    limits=sandbox.Limits(output_bytes=5000),
)
status = sandbox.run(policy, sandbox.Command(argv=("yes",)))
print("|", status.limit, status.signal)
"""


def test_a_terminal_is_hung_up_at_the_limit() -> None:
    pid, master = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", TERMINAL, str(ROOT)])
    shown = b""
    with contextlib.suppress(OSError):
        while block := os.read(master, 65536):
            shown += block
    os.close(master)
    os.waitpid(pid, 0)
    assert shown.count(b"y") == pytest.approx(5000 / 3, abs=2)
    assert shown.endswith(b"| output_bytes 1\r\n")

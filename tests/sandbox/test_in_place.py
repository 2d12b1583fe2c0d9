"""The Landlock rung for real: what it denies, what goes on working, what it leaves behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import sandbox
from sandbox import Command, Guarantee, Isolation, Limits, Mount, Network, SetupError, UnsupportedError
from tests.sandbox.conftest import ROOT, Ended, policy, python, run_spawned, shell

_host = sandbox.probe()
pytestmark = pytest.mark.skipif(not _host.landlock, reason=f"no Landlock rung here: {_host.landlock_cause}")


def in_place(*mounts: Mount, **fields: object) -> sandbox.Policy:
    return policy(*mounts, isolation=Isolation.LANDLOCK, **fields)


def attempt(script: str, *mounts: Mount, cwd: str = "/", **fields: object) -> Ended:
    return run_spawned(in_place(*mounts, **fields), python(script), cwd)


@pytest.mark.parametrize("code", [0, 7, 124, 125])
def test_the_commands_own_code(code: int) -> None:
    assert run_spawned(in_place(), shell(f"exit {code}")).returncode == code


def test_a_program_that_is_missing_or_killed_is_told_as_everywhere() -> None:
    assert run_spawned(in_place(), ("no-such-program",)).returncode == 127
    assert run_spawned(in_place(), shell("kill -KILL $$")).returncode == 137


def test_files_that_the_policy_does_not_show(project: Path) -> None:
    (project / "secret").write_text("s3cret")
    (project / "shown").mkdir()
    (project / "shown" / "file").write_text("shown")
    script = (
        f"cat {project}/secret; ls {project}; ls / ; echo x > {project}/shown/new; cat {project}/shown/file"
    )
    ended = run_spawned(in_place(Mount.bind(f"{project}/shown")), shell(script))
    assert ended.stdout == "shown"
    assert ended.stderr.count("ermission denied") == 4
    assert not (project / "shown" / "new").exists()


def test_protected_files_of_a_writable_folder(project: Path) -> None:
    (project / "kept").write_text("kept")
    (project / "open").write_text("open")
    (project / "src" / "hooks").mkdir(parents=True)
    (project / "src" / "module").write_text("")
    mounts = (
        Mount.bind(str(project), writable=True),
        Mount.protect(f"{project}/kept"),
        Mount.protect(f"{project}/missing"),
        Mount.protect(f"{project}/src/hooks", directory=True),
    )
    script = """
        for path in kept missing src/hooks/new; do echo bad > $path; done
        mv open kept; ln -f open kept; rm -f kept; mv src elsewhere; rmdir src/hooks; mkdir missing
        ln kept src/module2 && echo bad > src/module2
        echo good >> open; echo good > src/module
    """
    run_spawned(in_place(*mounts), shell(script), str(project))
    assert (project / "kept").read_text() == "kept"
    assert (project / "open").read_text() == "opengood\n"
    assert (project / "src" / "module").read_text() == "good\n"
    assert not (project / "missing").exists() and not list((project / "src" / "hooks").iterdir())


def test_a_file_that_the_host_exchanges_is_not_writable_any_more(project: Path) -> None:
    """With namespaces the mount is taken off; here the right belongs to the file that was there."""
    (project / "kept").write_text("kept")
    mounts = (Mount.bind(str(project), writable=True), Mount.protect(f"{project}/kept"))
    script = "import sys, time; print('ready', flush=True); sys.stdin.read(); open('kept', 'w').write('bad')"
    read, write = os.pipe()
    out_read, out_write = os.pipe()
    command = Command(argv=python(script), cwd=str(project), stdin=read, stdout=out_write)
    with sandbox.spawn(in_place(*mounts), command) as process:
        os.close(read)
        os.close(out_write)
        assert os.read(out_read, 5) == b"ready"
        (project / "new").write_text("new")
        (project / "new").rename(project / "kept")
        os.close(write)
        assert process.wait().returncode == 1
    os.close(out_read)
    assert (project / "kept").read_text() == "new"


def test_a_link_where_the_policy_names_a_folder_is_refused(project: Path) -> None:
    """Somebody may exchange the folder after it was judged: the right must not go elsewhere."""
    (project / "elsewhere").mkdir()
    (project / "granted").symlink_to("elsewhere")
    for writable in (False, True):
        with pytest.raises(SetupError, match="leads through a symbolic link"):
            run_spawned(in_place(Mount.bind(f"{project}/granted", writable=writable)), shell("true"))
        with pytest.raises(SetupError, match="leads through a symbolic link"):
            run_spawned(in_place(Mount.bind(f"{project}/granted/below", writable=writable)), shell("true"))


def test_home_and_temporary_files_are_private_and_removed() -> None:
    script = "import os, tempfile; open(os.path.expanduser('~/x'), 'w'); print(tempfile.mkstemp()[1]); "
    ended = attempt(script + "print(os.environ['HOME']); os.mkdir(os.environ['HOME'] + '/closed', 0)")
    made, home = ended.stdout.split()
    assert ended.returncode == 0, ended.stderr
    assert "sandbox-" in made and not Path(made).exists() and not Path(home).exists()


def test_the_home_can_be_the_working_directory_and_holds_the_policys_links(project: Path) -> None:
    (project / "netrc").write_text("login")
    mounts = (Mount.bind(f"{project}/netrc"), Mount.symlink("/home/sandbox/.netrc", f"{project}/netrc"))
    assert run_spawned(in_place(*mounts), shell("cat .netrc"), "/home/sandbox").stdout == "login"


SOCKETS = """
import socket, errno
for family, kind in ((socket.AF_INET, 1), (socket.AF_INET, 2), (socket.AF_INET6, 1), (socket.AF_UNIX, 1),
                     (socket.AF_UNIX, 2), (16, 3), (17, 3), (40, 1)):
    try:
        socket.socket(family, kind)
        print("made", family, kind)
    except OSError as error:
        assert error.errno in (errno.EACCES, errno.EAFNOSUPPORT), error
one, other = socket.socketpair()
one.send(b"x"); assert other.recv(1) == b"x"
try:
    socket.socketpair(type=socket.SOCK_DGRAM)
    print("datagrams")
except PermissionError:
    pass
"""


def test_no_socket_but_connected_pairs() -> None:
    ended = attempt(SOCKETS)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr


def test_with_the_hosts_network_unix_sockets_stay_denied() -> None:
    ended = attempt(SOCKETS, network=Network.HOST)
    made = {line.split()[1] for line in ended.stdout.splitlines()}
    assert made == {"2", "10"}, ended.stderr


def test_allowed_hosts_cannot_be_served() -> None:
    with pytest.raises(UnsupportedError, match="needs a network namespace"):
        sandbox.spawn(in_place(network=Network.hosts(("example.com", 443))), Command(argv=("true",)))


def test_nothing_of_the_kernels_own_is_shared() -> None:
    script = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for name, arguments in (("shmget", (0, 4096, 0o1600)), ("semget", (0, 1, 0o1600)), ("msgget", (0, 0o1600)),
                        ("mq_open", (b"/x", 0o102, 0o600, None)), ("unshare", (0x10000000,)),
                        ("setpriority", (0, os.getppid(), 19)), ("setpriority", (2, 0, 19)),
                        ("kill", (os.getppid(), 0))):
    result = getattr(libc, name)(*arguments)
    if result != -1:
        print("allowed", name)
try:
    os.setxattr(".", "user.x", b"x")
    print("allowed setxattr")
except OSError:
    pass
print(open("/proc/meminfo").read(3), os.path.exists("/dev/null"))
"""
    ended = attempt(script)
    assert ended.stdout == "Mem True\n", ended.stderr


def test_processes_are_not_listed_and_the_command_knows_itself() -> None:
    ended = attempt("import os; print(open('/proc/self/comm').read()); os.listdir('/proc')")
    assert "python3" in ended.stdout and "PermissionError" in ended.stderr


DAEMONS = """
sh -c 'echo started; sleep 300' &
setsid sh -c 'echo started; sleep 300' &
(setsid sh -c 'trap "" TERM HUP; sleep 300 & echo started; sleep 300' &) &
"""
"""A child, a leader of its own session, an orphan that ignores what is polite; each says that it is there."""
PATIENCE_SECONDS = 60.0


def lines_of(descriptor: int, count: int) -> list[str]:
    """The first `count` lines that come out of a pipe, which several processes write to."""
    received = b""
    while received.count(b"\n") < count:
        assert select.select([descriptor], [], [], PATIENCE_SECONDS)[0], f"only this came: {received!r}"
        received += os.read(descriptor, 4096)
    return received.decode().splitlines()


def wait_until_gone(processes: list[psutil.Process], folder: Path) -> None:
    """Raises: AssertionError naming what is left."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        left = [process for process in processes if lives(process)]
        if not left and not folder.exists():
            return
        assert time.monotonic() < deadline, f"left: {left}, {list(folder.glob('*'))}"
        time.sleep(0.05)


def lives(process: psutil.Process) -> bool:
    """Whether it still runs; an orphan that nobody has reaped yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def daemons(process: sandbox.Process, output: int) -> tuple[list[psutil.Process], Path]:
    """Everything below the supervisor once `DAEMONS` have started, and the private folder."""
    lines = lines_of(output, 4)
    assert lines.count("started") == 3
    (home,) = (line for line in lines if line != "started")
    found = psutil.Process(process.pid).children(recursive=True)
    assert len(found) >= 5, found  # init, the command, and three of its own
    return found, Path(home).parent


@pytest.mark.parametrize("victim", ["nobody", "supervisor", "init"])
def test_what_the_command_leaves_running_ends_with_it(victim: str) -> None:
    read, write = os.pipe()
    hold, release = os.pipe()
    command = Command(argv=shell(DAEMONS + "echo $HOME; read x"), stdin=hold, stdout=write)
    process = sandbox.spawn(in_place(), command)
    os.close(write)
    os.close(hold)
    found, folder = daemons(process, read)
    if victim == "nobody":
        os.write(release, b"\n")
    else:
        (init,) = (child for child in found if child.ppid() == process.pid)
        os.kill(process.pid if victim == "supervisor" else init.pid, signal.SIGKILL)
    status = process.wait()
    assert victim != "nobody" or status.returncode == 0
    wait_until_gone(found, folder)
    os.close(read)
    os.close(release)


def test_a_folder_that_a_crash_left_is_removed_by_the_next_sandbox() -> None:
    import tempfile

    left = Path(tempfile.gettempdir(), f"sandbox-private-{os.urandom(8).hex()}")
    (left / "home").mkdir(parents=True)
    run_spawned(in_place(), shell("exit 0"))
    assert not left.exists()


def test_folders_of_the_user_stay_whatever_they_are_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("sandbox-notes", "sandbox-0123456789abcdef", "sandbox-private-notes", "sandbox-private-")
    for name in names:
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    run_spawned(in_place(), shell("exit 0"))
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_the_time_is_up() -> None:
    status = sandbox.run(
        in_place(limits=Limits(wall_clock_seconds=0.5)), Command(argv=shell("setsid sleep 300 & sleep 300"))
    )
    assert status.timed_out and status.returncode == 124


def test_limits_of_the_whole_tree_and_of_the_output() -> None:
    limits = Limits(output_bytes=1000, cpus=1)
    command = "head -c 100000 /dev/zero; python3 -c 'import os; os.sched_setaffinity(0, {0})'"
    ended = run_spawned(in_place(limits=limits), shell(command))
    assert 0 < len(ended.stdout) <= 1000


def test_privileges() -> None:
    lines = attempt("print(open('/proc/self/status').read())").stdout.split("\n")
    values = {line.split(":")[0].strip(): line.split(":")[1].strip() for line in lines if ":" in line}
    assert {values[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert (values["NoNewPrivs"], values["Seccomp"]) == ("1", "2")


def test_it_says_what_it_does_not_guarantee() -> None:
    coverage = sandbox.choose_backend(in_place()).coverage()
    assert Guarantee.METADATA not in coverage.guarantees
    assert any("modes and times" in note for note in coverage.notes)
    with pytest.raises(UnsupportedError, match=r"`landlock` does not guarantee .*: metadata"):
        sandbox.choose_backend(in_place(require=frozenset({Guarantee.METADATA})))


def test_a_terminal_of_its_own() -> None:
    script = (
        "import sandbox, sys; from sandbox import *; sys.exit(run(Policy(isolation=Isolation.LANDLOCK, "
        "terminal=Terminal.PTY, environment=(('PATH', '/usr/bin:/bin'),)), "
        "Command(argv=('sh', '-c', 'test -t 0 && tty && echo ok > /dev/tty; ls /dev/pts'))).returncode)"
    )
    import pty

    pid, master = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-c", script], {**os.environ, "PYTHONPATH": str(ROOT)})
    shown = b""
    while True:
        try:
            block = os.read(master, 4096)
        except OSError:
            break
        if not block:
            break
        shown += block
    os.close(master)
    os.waitpid(pid, 0)
    assert b"/dev/pts/" in shown and b"ok" in shown and b"ermission denied" in shown


def test_a_landlock_sandbox_inside_another_one() -> None:
    shown = [Mount.bind(path) for path in dict.fromkeys((str(ROOT), sys.prefix, sys.base_prefix))]
    inner = (
        sys.executable,
        "-m",
        "sandbox",
        "--isolation",
        "landlock",
        "--",
        "/bin/sh",
        "-c",
        "cat /etc/shadow; echo in",
    )
    command = ("/usr/bin/env", f"PYTHONPATH={ROOT}", "PYTHONDONTWRITEBYTECODE=1", *inner)
    ended = run_spawned(in_place(*shown), command, str(ROOT))
    assert ended.stdout == "in\n", ended.stderr
    assert "ermission denied" in ended.stderr


def test_the_command_line_says_that_it_is_weaker(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", "--isolation", "landlock", "--write", str(project), "--", "true"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "weaker isolation: `landlock`" in done.stderr

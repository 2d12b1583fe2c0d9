"""The program as it is started: what it exits with, and what ends it."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sandbox
from pypm import __version__

CHECKOUT = Path(__file__).resolve().parent.parent
_host = sandbox.probe()
needs_sandbox = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYPM_")}
    cache = tmp_path_factory.mktemp("cache")
    return {**kept, "PYTHONPATH": str(CHECKOUT), "PYPM_CACHE_DIR": str(cache), "TERM": "xterm"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]) -> Path:
    """A project without dependencies, locked; nothing needs an index."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\n[tool.pypm]\npackage = false\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "pypm", "lock"],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def start(root: Path, environ: dict[str, str], *words: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-m", "pypm", *words],
        cwd=root,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_the_version_needs_no_command_line(root: Path, environ: dict[str, str]) -> None:
    process = start(root, environ, "--version")
    out, told = process.communicate()
    assert (process.returncode, out, told) == (0, f"pypm {__version__}\n", "")


def test_errors_reach_stderr_and_the_exit_code(root: Path, environ: dict[str, str]) -> None:
    process = start(root, environ, "sync", "--extra", "nope")
    out, told = process.communicate()
    assert process.returncode == 2
    assert out == ""
    assert told.startswith("error: ")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["--version", "lock", "cache dir", "sync --extra nope"])
def test_streams_that_the_caller_closed_lead_nowhere(
    root: Path, environ: dict[str, str], closed: str, words: str
) -> None:
    before = (root / "pypm.lock").read_bytes()
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m pypm {words} {closed}', sys.executable],
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (2 if "nope" in words else 0)
    assert "Traceback" not in done.stderr
    assert bool(done.stdout) == (words in ("--version", "cache dir") and ">&-" not in closed.split())
    assert (root / "pypm.lock").read_bytes() == before


@needs_sandbox
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_command_gets_every_standard_stream(root: Path, environ: dict[str, str], place: int) -> None:
    line = f'exec "$0" -m pypm -q run sh -c "$1" {place}>&-'
    asked = f"found=$(readlink /proc/$$/fd/{place}); echo $found >&{2 if place == 1 else 1}"
    for _ in range(2):  # The second one goes by the ready plan.
        done = subprocess.run(
            ["sh", "-c", line, sys.executable, asked],
            cwd=root,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "/dev/null\n")


def test_the_end_waits_for_no_thread(environ: dict[str, str]) -> None:
    script = """
import sys, threading
from pypm import launch
from pypm.cli import app

def command_line():
    threading.Thread(target=threading.Event().wait).start()
    print("done")
    return 0

app.main = command_line
launch.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "done\n")


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "RuntimeError() from KeyboardInterrupt()"])
@pytest.mark.parametrize("module", ["pypm.workflow.plans", "pypm.cli.app", "click", "pypm.workflow.run"])
def test_ctrl_c_while_modules_load_is_one_line(
    root: Path, environ: dict[str, str], tmp_path: Path, module: str, raised: str
) -> None:
    """At the start, or in a command; where a class body is interrupted, Python before 3.12 wraps it."""
    # With a ready plan most would not be loaded, and the bundle serves modules before any other finder.
    environ = {**environ, "PYPM_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPYCACHEPREFIX": str(tmp_path)}
    program = f"""
import sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise {raised}
import pypm.launch
sys.modules.pop({module!r}, None)
sys.meta_path.insert(0, Interrupting())
sys.argv = ["pypm", "run", "true"]
pypm.launch.main()
"""
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "Interrupted\n")


def unread(root: Path, environ: dict[str, str], *words: str, streams: tuple[str, ...]) -> tuple[int, str]:
    """Return how a command ends whose output nobody reads any more, and what it writes elsewhere."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "pypm", *words],
        cwd=root,
        env=environ,
        stdout=writing if "stdout" in streams else subprocess.PIPE,
        stderr=writing if "stderr" in streams else subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    return done.returncode, (done.stdout or "") + (done.stderr or "")


@pytest.mark.parametrize("words", ["completion bash", "--version", "--help", "lock --help", "cache dir"])
def test_an_answer_that_nobody_reads_is_no_error(root: Path, environ: dict[str, str], words: str) -> None:
    assert unread(root, environ, *words.split(), streams=("stdout",)) == (0, "")


@needs_sandbox
@pytest.mark.parametrize("streams", [("stdout",), ("stderr",), ("stdout", "stderr")], ids="-".join)
def test_what_nobody_reads_changes_neither_the_work_nor_its_end(
    root: Path, environ: dict[str, str], streams: tuple[str, ...]
) -> None:
    environment = root / ".venv"
    shutil.rmtree(environment, ignore_errors=True)
    assert unread(root, environ, "verify", streams=streams)[0] == 3
    assert unread(root, environ, "sync", "-v", streams=streams)[0] == 0
    assert environment.is_dir()
    for _ in range(2):  # The second one goes by the ready plan.
        assert unread(root, environ, "sync", streams=streams)[0] == 0
    assert unread(root, environ, "run", "-v", "sh", "-c", "exit 7", streams=streams)[0] == 7
    assert unread(root, environ, "run", "no-such-program", streams=streams)[0] == 127
    assert unread(root, environ, "no-such-command", streams=streams)[0] == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", ["--version", "--help", "cache dir"])
def test_an_answer_that_cannot_be_written_is_an_error(
    root: Path, environ: dict[str, str], words: str
) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pypm", *words.split()],
            cwd=root,
            env=environ,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write the answer: No space left on device\n")


@pytest.mark.parametrize("words", ["lock", "sync", "run true", "init", "--project . lock"])
def test_a_working_folder_that_was_removed_is_named(
    root: Path, environ: dict[str, str], tmp_path: Path, words: str
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["sh", "-c", f'rmdir "$1"; exec "$0" -m pypm {words}', sys.executable, str(gone)],
        cwd=gone,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the folder that you are in does not exist any more\n")


@needs_sandbox
@pytest.mark.parametrize("words", [("run",), ("run", "-v")], ids=["ready plan", "whole program"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_reaches_the_command(
    root: Path, environ: dict[str, str], words: tuple[str, ...], number: signal.Signals, code: int
) -> None:
    assert start(root, environ, "run", "true").wait() == 0
    process = start(root, environ, *words, "sh", "-c", "echo ready; exec sleep 30")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, told = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in told


@needs_sandbox
def test_a_command_may_catch_the_signal(root: Path, environ: dict[str, str]) -> None:
    script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    process = start(root, environ, "run", "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (9, "caught\n")


@needs_sandbox
def test_what_runs_ends_with_pypm(root: Path, environ: dict[str, str]) -> None:
    marker = f"31{os.getpid()}"
    process = start(root, environ, "run", "sh", "-c", f"echo ready; exec sleep {marker}")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while is_running(marker):
        assert time.monotonic() < deadline, "the command outlived pypm"
        time.sleep(0.02)


def is_running(word: str) -> bool:
    """Whether some process of this machine has this word in its command line."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in words:
                return True
    return False


@needs_sandbox
@pytest.mark.parametrize("words", [("run", "sh"), ("run", "-v", "sh"), ("shell",)])
def test_an_interactive_command_has_a_terminal_of_its_own(
    root: Path, environ: dict[str, str], words: tuple[str, ...]
) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(root)
        os.execve(
            sys.executable,
            [sys.executable, "-m", "pypm", *words],
            {**environ, "SHELL": "/bin/sh"},
        )
    try:
        converse(terminal, until=b"$ ")
        os.write(terminal, b"tty; echo got-$((40+2)); exit 5\n")
        said = converse(terminal, until=b"got-42")
        assert b"/dev/pts/0" in said, "a pseudo-terminal of the sandbox's own"
        while select.select([terminal], [], [], 10)[0]:
            try:
                if not os.read(terminal, 4096):
                    break
            except OSError:
                break
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    finally:
        os.close(terminal)


def converse(terminal: int, *, until: bytes) -> bytes:
    """Read from a terminal until something appears."""
    said = b""
    deadline = time.monotonic() + 60
    while until not in said:
        assert time.monotonic() < deadline, said
        if select.select([terminal], [], [], 0.2)[0]:
            said += os.read(terminal, 4096)
    return said

"""A pty inside and a relay outside, through a pty of the test's own."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable

import pytest

from tests.sandbox.conftest import ROOT

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import sandbox
policy = sandbox.Policy(
    terminal=sandbox.Terminal.PTY, home="/home/u",
    environment=(("PATH", "/usr/bin:/bin"), ("TERM", "xterm"), ("PS1", "prompt> ")),
)
argv = tuple(sys.argv[3:])
if sys.argv[2] == "replay":
    sys.exit(sandbox.replay(sandbox.prepare(policy), argv, "/"))
sys.exit(sandbox.run(policy, sandbox.Command(argv=argv)).returncode)
"""


class Session:
    """A program on a pty."""

    def __init__(self, way: str, *argv: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # Under nohup the tests have it ignored, which an exec leaves so; no terminal does that.
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            os.execv(sys.executable, [sys.executable, "-c", PROGRAM, str(ROOT), way, *argv])
        termios.tcsetwinsize(self.fd, (31, 97)) if hasattr(termios, "tcsetwinsize") else None
        self.seen = b""

    def send(self, text: bytes) -> None:
        os.write(self.fd, text)

    def expect(self, text: bytes) -> None:
        deadline = time.monotonic() + 60
        while text not in self.seen:
            assert select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))[0], self.seen
            self.seen += self._read()
        self.seen = self.seen.partition(text)[2]

    def _read(self) -> bytes:
        try:
            return os.read(self.fd, 4096)
        except OSError:
            return b""

    def end(self) -> int:
        """The exit code, negative for a signal; a program that does not end is a failure, not a hang."""
        deadline = time.monotonic() + 60
        while select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            if not (block := self._read()):
                break
            self.seen += block
        else:
            os.kill(self.pid, signal.SIGKILL)
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture(params=["spawn", "replay"])
def way(request: pytest.FixtureRequest, namespaces: None) -> str:
    return str(request.param)


def test_a_terminal_of_its_own(way: str) -> None:
    session = Session(way, "sh", "-c", "tty; read x; stty size; echo got $x; exit 5")
    session.expect(b"/dev/pts/0")
    before = termios.tcgetattr(session.fd)
    session.send(b"hello\r")
    session.expect(b"31 97")
    session.expect(b"got hello")
    assert session.end() == 5
    assert not before[3] & termios.ICANON, "the caller's terminal is raw meanwhile"


def test_control_c_reaches_the_command_and_the_terminal_is_restored(way: str) -> None:
    session = Session(
        way, "sh", "-c", "trap 'echo caught; exit 6' INT; echo ready; while :; do sleep 0.02; done"
    )
    session.expect(b"ready")
    session.send(b"\x03")
    session.expect(b"caught")
    assert session.end() == 6


def test_job_control_in_a_shell(way: str) -> None:
    session = Session(way, "bash", "--norc", "-i")
    session.expect(b"prompt> ")
    session.send(b"sleep 60\r")
    session.expect(b"sleep 60")
    time.sleep(0.2)
    session.send(b"\x1a")
    session.expect(b"Stopped")
    session.expect(b"prompt> ")
    session.send(b"fg\r")
    session.expect(b"sleep 60")
    time.sleep(0.2)
    session.send(b"\x03")
    session.expect(b"prompt> ")
    session.send(b"exit 8\r")
    assert session.end() == 8


def test_window_changes_are_passed_on(way: str) -> None:
    session = Session(
        way,
        "sh",
        "-c",
        "trap 'stty size' WINCH; echo ready; until stty size | grep '40 120'; do sleep 0.02; done",
    )
    session.expect(b"ready")
    import struct

    fcntl.ioctl(session.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    session.expect(b"40 120")
    assert session.end() == 0


def _is_cooked(fd: int) -> bool:
    return bool(termios.tcgetattr(fd)[3] & termios.ICANON)


def _eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_killed_supervisor_ends_the_session_and_the_terminal_is_restored(way: str) -> None:
    session = Session(way, "sh", "-c", r"printf '\033[?1049h\033[?25lready'; sleep 60")
    watched = _slave(session)
    session.expect(b"ready")
    assert not _is_cooked(watched)
    os.kill(session.pid, signal.SIGKILL)
    assert _eventually(lambda: _is_cooked(watched))
    # An editor that had the whole screen and hid the cursor could not give them back.
    session.expect(b"\x1b[?1047l")
    session.expect(b"\x1b[?25h")
    os.close(watched)
    assert session.end() == -signal.SIGKILL


def _slave(session: Session) -> int:
    """The side of the pty that the program has, opened once more. Source: ioctl_tty(2), TIOCGPTN."""
    number = int.from_bytes(fcntl.ioctl(session.fd, 0x80045430, bytes(4)), "little")
    return os.open(f"/dev/pts/{number}", os.O_RDWR | os.O_NOCTTY)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_restored_after_a_signal(way: str, number: signal.Signals) -> None:
    session = Session(way, "sh", "-c", "echo ready; sleep 60")
    slave = _slave(session)
    session.expect(b"ready")
    os.kill(session.pid, number)
    assert _eventually(lambda: _is_cooked(slave))
    os.close(slave)
    assert session.end() in (128 + number, -number)


def test_a_hang_up_of_all_leaves_a_plain_screen(way: str) -> None:
    """As the kernel does it when the leader of a session is killed, maybe before its pipes are closed."""
    session = Session(way, "sh", "-c", r"printf '\033[?1049h\033[?25lready'; sleep 60")
    session.expect(b"ready")
    os.killpg(session.pid, signal.SIGHUP)
    session.expect(b"\x1b[?1047l")
    session.expect(b"\x1b[?25h")
    assert session.end() in (128 + signal.SIGHUP, -signal.SIGHUP)
    assert b"Traceback" not in session.seen


def test_a_terminal_that_goes_away_ends_what_is_inside(way: str) -> None:
    session = Session(way, "sh", "-c", "echo ready; while :; do echo more; sleep 0.02; done")
    session.expect(b"ready")
    os.close(session.fd)
    watched = os.pidfd_open(session.pid)
    assert select.select([watched], [], [], 10)[0]
    os.close(watched)
    os.waitpid(session.pid, 0)


def test_what_is_typed_and_what_is_printed_do_not_hold_each_other_up(way: str) -> None:
    """Both sides write more than the pty holds before either reads."""
    session = Session(way, "sh", "-c", "stty raw -echo; echo ready; seq 1 60000; head -c 30000 | wc -c")
    session.expect(b"ready")
    typed = b"x" * 30000
    while typed:
        ready = select.select([session.fd], [session.fd], [], 10)
        assert ready[0] or ready[1]
        if ready[0]:
            session.seen += session._read()
        if ready[1]:
            typed = typed[os.write(session.fd, typed[:1000]) :]
    session.expect(b"59999")
    session.expect(b"30000")
    assert session.end() == 0


def test_output_is_whole(way: str) -> None:
    session = Session(way, "sh", "-c", "seq 1 200000; printf end")
    assert session.end() == 0
    assert session.seen.replace(b"\r\n", b"\n") == b"".join(b"%d\n" % n for n in range(1, 200001)) + b"end"


class Shell(Session):
    """A shell of the caller's with job control, in which the program is a job."""

    def __init__(self) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(PS1="outer> ", PYTHON=sys.executable, PROGRAM=PROGRAM, ROOT=str(ROOT))
            os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
        self.seen = b""
        self.expect(b"outer> ")

    def start(self, argv: str, *, behind: bool = False) -> None:
        self.send(f'"$PYTHON" -c "$PROGRAM" "$ROOT" replay {argv}{" &" if behind else ""}\r'.encode())


def test_control_z_stops_the_whole_job_and_fg_resumes_it(namespaces: None) -> None:
    shell = Shell()
    shell.start("sh -c 'echo rea\"\"dy; read x; echo got $x; exit 4'")
    shell.expect(b"ready")
    for _ in range(2):
        shell.send(b"\x1a")
        shell.expect(b"Stopped")
        shell.expect(b"outer> ")
        shell.send(b"echo $((40 + 2))\r")
        shell.expect(b"42\r\n")
        shell.send(b"fg\r")
        time.sleep(0.3)
    shell.send(b"word\r")
    shell.expect(b"got word")
    shell.expect(b"outer> ")
    shell.send(b"echo code $?\r")
    shell.expect(b"code 4")
    shell.send(b"exit\r")
    assert shell.end() == 0


def test_a_stop_from_outside_gives_the_terminal_back(namespaces: None) -> None:
    shell = Shell()
    shell.start("sh -c 'echo rea\"\"dy; echo $PPID; read x; echo got $x'")
    shell.expect(b"ready")
    job = int(subprocess.check_output(["ps", "-o", "pid=", "--ppid", str(shell.pid)]).split()[0])
    os.kill(job, signal.SIGTSTP)
    shell.expect(b"Stopped")
    shell.expect(b"outer> ")
    shell.send(b"fg\r")
    time.sleep(0.3)
    shell.send(b"word\r")
    shell.expect(b"got word")
    shell.expect(b"outer> ")
    shell.send(b"exit\r")
    assert shell.end() == 0


def test_a_job_in_the_background_leaves_the_terminal_alone(namespaces: None) -> None:
    shell = Shell()
    slave = _slave(shell)
    shell.start("sh -c 'echo rea\"\"dy; read x; echo got $x'", behind=True)
    shell.expect(b"ready")
    shell.send(b"sleep 0.2; echo $((40 + 2))\r")
    shell.expect(b"42\r\n")
    shell.send(b"stty -a | tr ';' '\\n' | grep -o -w -e '-*icanon' | sed 's/^/mode: /'\r")
    shell.expect(b"mode: icanon")
    shell.expect(b"outer> ")
    shell.send(b"fg\r")
    shell.expect(b"replay")  # The shell names the job, and its own line editor has let the terminal go.
    assert _eventually(lambda: not _is_cooked(slave))
    time.sleep(0.2)
    shell.send(b"word\r")
    shell.expect(b"got word")
    shell.expect(b"outer> ")
    os.close(slave)
    shell.send(b"exit\r")
    assert shell.end() == 0

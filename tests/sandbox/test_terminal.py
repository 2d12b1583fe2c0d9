"""A pty inside and a relay outside, through a pty of the test's own."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import termios
import time

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
            os.execv(sys.executable, [sys.executable, "-c", PROGRAM, str(ROOT), way, *argv])
        termios.tcsetwinsize(self.fd, (31, 97)) if hasattr(termios, "tcsetwinsize") else None
        self.seen = b""

    def send(self, text: bytes) -> None:
        os.write(self.fd, text)

    def expect(self, text: bytes) -> None:
        deadline = time.monotonic() + 10
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
        deadline = time.monotonic() + 10
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
    import fcntl
    import struct

    fcntl.ioctl(session.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    session.expect(b"40 120")
    assert session.end() == 0


def test_a_killed_supervisor_ends_the_session(way: str) -> None:
    session = Session(way, "sh", "-c", "echo ready; sleep 60")
    session.expect(b"ready")
    os.kill(session.pid, signal.SIGKILL)
    assert session.end() == -signal.SIGKILL

"""What hostile code would try, and what honest code needs; prints one line for each.

Called as `attempts.py SECRET_FILE SECRET_VARIABLE HOST_PORT HOST_PID`. A line is
`allowed|denied TAB should-be-allowed|should-be-denied TAB what TAB detail`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parent


class DeniedError(Exception):
    """The attempt found nothing."""


def main() -> int:
    """Try everything."""
    secret, variable, port, pid = sys.argv[1:]
    attempts: tuple[tuple[str, bool, Callable[[], object]], ...] = (
        ("read the secret key in the home folder", False, Path(secret).read_text),
        ("list the home folder", False, lambda: names(Path(secret).parent.parent)),
        ("read the secret variable", False, lambda: look_up(variable)),
        ("read the variables of process 1", False, lambda: look_up_in_process(variable)),
        ("connect to a server of this machine", False, lambda: connect("127.0.0.1", int(port))),
        ("connect to an address on the internet", False, lambda: reach("192.0.2.1", 443)),
        ("look up a name on the internet", False, lambda: socket.getaddrinfo("example.com", 443)),
        ("signal a process of this machine", False, lambda: os.kill(int(pid), 0)),
        ("change pyproject.toml", False, lambda: append(PROJECT / "pyproject.toml")),
        ("change pypm.lock", False, lambda: append(PROJECT / "pypm.lock")),
        ("plant a git hook", False, lambda: plant(PROJECT / ".git" / "hooks" / "pre-commit")),
        ("plant an editor task", False, lambda: plant(PROJECT / ".vscode" / "tasks.json")),
        ("change an installed package", False, lambda: append(Path(installed()))),
        ("write into the environment", False, lambda: append(Path(sys.prefix) / "bin" / "activate")),
        ("write beside the data", True, lambda: append(PROJECT / "data" / "notes.txt")),
        ("make a temporary file", True, make_temporary),
        ("start a program", True, start_program),
        ("serve and connect on its own 127.0.0.1", True, serve),
        ("import an installed package", True, installed),
    )
    for what, expected, attempt in attempts:
        try:
            attempt()
            outcome, detail = "allowed", ""
        except (OSError, DeniedError, ImportError, subprocess.SubprocessError) as error:
            outcome, detail = "denied", type(error).__name__
        print(outcome, "should-be-allowed" if expected else "should-be-denied", what, detail, sep="\t")
    return 0


def names(folder: Path) -> None:
    if not any(folder.iterdir()):
        raise DeniedError


def look_up(variable: str) -> None:
    if variable not in os.environ:
        raise DeniedError


def look_up_in_process(variable: str) -> None:
    if variable.encode() not in Path("/proc/1/environ").read_bytes():
        raise DeniedError


def connect(host: str, port: int) -> None:
    socket.create_connection((host, port), timeout=3).close()


def reach(host: str, port: int) -> None:
    """Connect to an address where nobody answers (TEST-NET-1): waiting in vain means there is a route."""
    try:
        connect(host, port)
    except TimeoutError:
        return


def append(path: Path) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write("\n")


def plant(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n", encoding="utf-8")


def installed() -> str:
    import attrs

    return attrs.__file__


def make_temporary() -> None:
    with tempfile.NamedTemporaryFile() as stream:
        stream.write(b"text")


def start_program() -> None:
    subprocess.run(["/bin/sh", "-c", "true"], check=True)


def accept_one(server: socket.socket) -> None:
    server.accept()[0].close()


def serve() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept_one, args=(server,))
        thread.start()
        connect(*server.getsockname())
        thread.join()


if __name__ == "__main__":
    sys.exit(main())

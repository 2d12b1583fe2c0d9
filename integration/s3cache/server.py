"""The real server, in a process and an environment of its own, which pypm makes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from integration.peers import PYPM

SOURCES = Path(__file__).with_name("server")


def install(folder: Path) -> Path:
    """Have pypm lock and install the server into a folder; return the folder's interpreter."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("pyproject.toml", "serve.py"):
        shutil.copy(SOURCES / name, folder / name)
    for command in ("lock", "sync"):
        subprocess.run([str(PYPM), command, "--quiet"], cwd=folder, check=True, stdout=sys.stderr)
    return folder / ".venv" / "bin" / "python"


class S3Server:
    """A running server with one bucket. Use it as a context manager."""

    def __init__(self, python: Path) -> None:
        folder = python.parents[2]
        self._process = subprocess.Popen(
            [str(python), "serve.py"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "server.log").open("wb"),
            text=True,
        )
        told = self._read()
        self.endpoint: str = told["endpoint"]
        self.writer: dict[str, str] = told["writer"]
        self.reader: dict[str, str] = told["reader"]
        self.ask(do="make")

    def __enter__(self) -> S3Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """End it, without a word to whom it serves."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def freeze(self, *, frozen: bool) -> None:
        """Stop it where it is, or let it go on: its connections stay, and nothing comes."""
        os.kill(self._process.pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def ask(self, **order: str) -> Any:
        """Have the server's own client do something to the bucket."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._read()

    def put(self, key: str, content: bytes) -> None:
        """Write an object behind the plugin's back."""
        self.ask(put=key, content=base64.b64encode(content).decode())

    def get(self, key: str) -> bytes:
        """Read an object."""
        return base64.b64decode(self.ask(get=key))

    def sizes(self) -> dict[str, int]:
        """Return every key with the size of its object."""
        found: dict[str, int] = self.ask(do="list")
        return found

    def empty(self) -> None:
        """Begin with a new bucket."""
        self.ask(do="remove")
        self.ask(do="make")

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the server has ended; its log is beside its environment")
        return json.loads(line)

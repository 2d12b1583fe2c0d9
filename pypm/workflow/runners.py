"""Starts the store's unpacking workers inside the sandbox; the store itself runs nothing."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO

import sandbox
from pypm.errors import StorageError
from pypm.isolation import isolation_errors, unpack_policy
from pypm.model.target import Interpreter


class SandboxedWorker:
    """A worker with its two pipes. Implements `store.unpacker.Worker`."""

    def __init__(self, process: sandbox.Process, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self._process = process
        self._stopped = False
        self.stdin = stdin
        self.stdout = stdout

    def stop(self) -> None:
        """End the process and reap it; callable twice.

        Raises:
            IsolationError: it never ran, for the sandbox could not be made.
        """
        if self._stopped:
            return
        self._stopped = True
        for pipe in (self.stdin, self.stdout):
            # A pipe whose reader is gone cannot be flushed; nobody waits for what is left in it.
            with contextlib.suppress(OSError):
                pipe.close()
        self._process.kill()
        with isolation_errors():
            self._process.wait()


class SandboxedUnpacking:
    """Implements `store.unpacker.UnpackRunner` over the sandbox."""

    def __init__(
        self, interpreter: Interpreter, *, home: Path, isolation: sandbox.Isolation | None = None
    ) -> None:
        """`home` is the caller's, which the worker does not see; `isolation` names a weaker one."""
        self._interpreter = interpreter
        self._home = home
        self._isolation = isolation

    def start(
        self, argv: tuple[str, ...], *, readable: tuple[Path, ...], writable: tuple[Path, ...]
    ) -> SandboxedWorker:
        """Start a worker that sees the given folders at their own places, and otherwise only the interpreter.

        Raises:
            IsolationError: the sandbox could not be made.
            StorageError: there are no descriptors left for its pipes.
        """
        with isolation_errors():
            policy = unpack_policy(
                self._interpreter,
                readable=readable,
                writable=writable,
                home=self._home,
                isolation=self._isolation,
            )
        try:
            requests_out, requests_in = os.pipe()
            answers_out, answers_in = os.pipe()
            silence = os.open(os.devnull, os.O_WRONLY)
        except OSError as error:
            raise StorageError(
                f"cannot open pipes to an unpacking worker: {error.strerror}",
                reference="no-descriptors",
                hint="raise the limit of open files (`ulimit -n`)",
            ) from error
        command = sandbox.Command(argv=argv, stdin=requests_out, stdout=answers_in, stderr=silence)
        try:
            with isolation_errors():
                process = sandbox.spawn(policy, command)
        except BaseException:
            os.close(requests_in)
            os.close(answers_out)
            raise
        finally:
            for descriptor in (requests_out, answers_in, silence):
                os.close(descriptor)
        return SandboxedWorker(process, os.fdopen(requests_in, "wb"), os.fdopen(answers_out, "rb"))

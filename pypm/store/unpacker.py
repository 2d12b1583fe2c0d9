"""The pool of sandboxed workers that unpack and compile wheels.

Starting an interpreter in a sandbox costs tens of milliseconds, so a sync starts as many as there are
processors and sends all its wheels through them. The workers of one pool share the scratch folder and are
one domain of trust: what they answer is checked by `store.adoption` before it becomes part of the store.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from pypm.errors import IntegrityError
from pypm.files import storage_errors
from pypm.model.target import Interpreter

INSIDE = Path(__file__).with_name("inside")
"""Seen read-only in the sandbox, at its own path, with the folder around it: the import system lists that."""

_MAX_ANSWER_BYTES = 256 << 20
"""A worker that floods its pipe must not fill our memory; an answer needs some 200 bytes a file."""
_COMPILE_BATCH_BYTES = 512 << 10
"""Sources compiled by one request: a tenth of a second of work, so that the workers end together."""


class Worker(Protocol):
    """A running worker, as the runner hands it out."""

    @property
    def stdin(self) -> IO[bytes]: ...

    @property
    def stdout(self) -> IO[bytes]: ...

    def stop(self) -> None:
        """End the process, whatever it does, and reap it; callable twice."""


class UnpackRunner(Protocol):
    """Starts workers in a sandbox: the workflow implements it, because this room runs nothing by itself."""

    def start(
        self, argv: tuple[str, ...], *, readable: tuple[Path, ...], writable: tuple[Path, ...]
    ) -> Worker:
        """Start `argv` with pipes for stdin and stdout, seeing only the folders given, at their own paths.

        No network, no home, an empty environment. Called from several threads.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackLimits:
    """Bounds against archives that grow when unpacked; far beyond the largest wheels that are published."""

    entries: int = 200_000
    total_bytes: int = 32 << 30
    ratio: int = 100
    ratio_exempt_bytes: int = 64 << 20
    """An archive that unpacks to less than this may have any ratio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackRequest:
    """One wheel to be unpacked into an empty folder."""

    archive: Path
    staging: Path
    mtime_ns: int


class UnpackerClosedError(Exception):
    """The command that wanted the wheel has failed or was interrupted; nobody looks at the result."""


class Unpacker:
    """A pool of workers for one interpreter; safe to use from several threads, closed by `with`."""

    def __init__(
        self,
        runner: UnpackRunner,
        interpreter: Interpreter,
        *,
        readable: Sequence[Path],
        writable: Path,
        limits: UnpackLimits | None = None,
    ) -> None:
        """`readable` are the folders that archives lie in, `writable` the one that staging folders lie in."""
        self.interpreter = interpreter
        self._runner = runner
        self._readable = (INSIDE.parent, *readable)
        self._writable = writable
        self._limits = limits or UnpackLimits()
        self._size = os.cpu_count() or 1
        self._closed = threading.Event()
        self._idle: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        for _ in range(self._size):
            self._idle.put(None)
        self._batches = ThreadPoolExecutor(self._size, thread_name_prefix="compile")

    def __enter__(self) -> Unpacker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers. A thread that still waits for one is sent away with `UnpackerClosedError`."""
        self._closed.set()
        self._batches.shutdown(wait=True, cancel_futures=True)
        with contextlib.suppress(queue.Empty):
            while True:
                worker = self._idle.get_nowait()
                if worker is not None:
                    worker.stop()
        self._idle.put(None)  # Whoever waits wakes, and wakes the next.

    @property
    def site_packages(self) -> str:
        """Where modules go below an environment's root."""
        return self.interpreter.site_packages

    def unpack(self, request: UnpackRequest) -> Any:
        """Return the worker's answer, untrusted, for `store.adoption.parse_answer`.

        Raises:
            IntegrityError: the archive is refused; the message names the file and `reference` the rule.
            StorageError: the disk refused.
        """
        return self._ask(
            request.archive.name,
            {
                "do": "unpack",
                "archive": str(request.archive),
                "staging": str(request.staging),
                "site_packages": self.site_packages,
                "programs": self.interpreter.programs,
                "include": f"include/site/{self.interpreter.python_tag}",
                "limits": [
                    self._limits.entries,
                    self._limits.total_bytes,
                    self._limits.ratio,
                    self._limits.ratio_exempt_bytes,
                ],
                "mtime_ns": request.mtime_ns,
                "threads": self._size,
            },
        )

    def compile(self, request: UnpackRequest, sources: Sequence[tuple[str, int]]) -> list[Any]:
        """Compile (path below staging, size) with all idle workers; return their answers, untrusted."""
        batches = [
            {"do": "compile", "staging": str(request.staging), "sources": batch, "mtime_ns": request.mtime_ns}
            for batch in _batched(sources)
        ]
        if len(batches) < 2:
            answers = [self._ask(request.archive.name, batch) for batch in batches]
        else:
            answers = list(self._batches.map(lambda batch: self._ask(request.archive.name, batch), batches))
        return [row for answer in answers for row in answer]

    def _ask(self, subject: str, question: dict[str, Any]) -> Any:
        line = json.dumps(question).encode("ascii") + b"\n"
        with self._worker() as worker:
            try:
                worker.stdin.write(line)
                worker.stdin.flush()
                answer = worker.stdout.readline(_MAX_ANSWER_BYTES)
            except OSError:
                answer = b""
            if not answer.endswith(b"\n"):
                raise IntegrityError(
                    f"unpacking `{subject}` ended the sandboxed worker",
                    reference="unpacker-died",
                    hint="the archive may be made to exhaust memory; look at it before you trust it",
                )
        return _result(subject, answer)

    @contextlib.contextmanager
    def _worker(self) -> Iterator[Worker]:
        """Lend an idle worker; one whose exchange failed in any way is ended, and its place refilled on
        demand."""
        worker = self._idle.get()
        try:
            self._refuse_when_closed()
            if worker is None:
                worker = self._start()
            yield worker
        except BaseException:
            if worker is not None:
                worker.stop()
                worker = None
            raise
        finally:
            if self._closed.is_set() and worker is not None:
                worker.stop()
                worker = None
            self._idle.put(worker)

    def _refuse_when_closed(self) -> None:
        if self._closed.is_set():
            raise UnpackerClosedError

    def _start(self) -> Worker:
        program = (
            f"import sys; sys.path[:] = [{str(INSIDE.parent)!r}, *filter(None, sys.path)]; "
            "from inside.worker import main; main()"
        )
        argv = (str(self.interpreter.executable), "-I", "-S", "-B", "-c", program)
        return self._runner.start(argv, readable=self._readable, writable=(self._writable,))


def _batched(sources: Sequence[tuple[str, int]]) -> Iterator[list[str]]:
    batch: list[str] = []
    batch_bytes = 0
    for path, size_bytes in sources:
        batch.append(path)
        batch_bytes += size_bytes
        if batch_bytes >= _COMPILE_BATCH_BYTES:
            yield batch
            batch, batch_bytes = [], 0
    if batch:
        yield batch


def _result(subject: str, line: bytes) -> Any:
    """Return what the worker answered, or raise what it reports."""
    answer = malformed_answer = None
    with contextlib.suppress(ValueError, RecursionError):
        answer = json.loads(line)
    match answer:
        case {"ok": result}:
            return result
        case {"refused": [str(code), str(message)]}:
            raise IntegrityError(
                f"the wheel `{subject}` is refused: {message}",
                reference=code,
                hint="the archive breaks the format in a way that could hide content; do not install it",
            )
        case {"failed": [int(number), str(message)]}:
            with storage_errors(f"unpack `{subject}`"):
                raise OSError(number, os.strerror(number) if number else message)
        case _:
            malformed_answer = answer
    raise malformed(subject, f"`{malformed_answer!r:.80}`")


def malformed(subject: str, what: str) -> IntegrityError:
    """Return the error for an answer that no worker of ours gives: something inside has taken it over."""
    return IntegrityError(
        f"the sandboxed worker gave an impossible answer for `{subject}`: {what}", reference="unpacker-lied"
    )

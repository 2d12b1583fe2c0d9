"""What the processes inside tell the supervisor, over one pipe: a failed set-up, or how the command ended.

This pipe is what tells a failed set-up from a command that happens to exit with the same code. A record is
one `marshal` value behind its length in four bytes; each is far below PIPE_BUF, so records never mix.
"""

from __future__ import annotations

import marshal
import os

from sandbox.errors import SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = tuple[Any, ...]

FAILED = "failed"
"""(FAILED, stage, errno, message, hint)"""
UNSTARTED = "unstarted"
"""(UNSTARTED, errno): the set-up went well, the program could not be executed."""
ENDED = "ended"
"""(ENDED, wait status)"""
FULL = "full"
"""(FULL, size in bytes): a file system in memory had no room left when the command had ended."""
STOPPED = "stopped"
"""(STOPPED,): the command suspended itself on its terminal."""
_MESSAGE_LIMIT = 1500


def send(descriptor: int, record: Record) -> None:
    """Write one record; a supervisor that is gone needs none."""
    content = marshal.dumps(record)
    try:
        os.write(descriptor, len(content).to_bytes(4, "little") + content)
    except BrokenPipeError:
        return


def send_failure(descriptor: int, stage: str, error: BaseException) -> None:
    """Tell why a stage failed."""
    if isinstance(error, SetupError):
        record = (FAILED, error.stage or stage, error.errno, error.message[:_MESSAGE_LIMIT], error.hint or "")
    elif isinstance(error, OSError):
        what = error.strerror or str(error)
        where = f" `{error.filename}`" if error.filename else ""
        record = (FAILED, stage, error.errno or 0, f"{what}{where}"[:_MESSAGE_LIMIT], "")
    else:
        record = (FAILED, stage, 0, f"{type(error).__name__}: {error}"[:_MESSAGE_LIMIT], "")
    send(descriptor, record)


def receive(descriptor: int, content: bytes = b"") -> list[Record]:
    """Every record until all writers have gone; `content` was read before."""
    while block := os.read(descriptor, 65536):
        content += block
    return split(content)


def split(content: bytes) -> list[Record]:
    """The whole records in `content`; a torn last one, left by a killed writer, is dropped."""
    records: list[Record] = []
    position = 0
    while position + 4 <= len(content):
        end = position + 4 + int.from_bytes(content[position : position + 4], "little")
        if end > len(content):
            break
        records.append(marshal.loads(content[position + 4 : end]))  # noqa: S302 - written by ourselves
        position = end
    return records


def tells_of_a_stop(content: bytes) -> bool:
    """Whether the command suspended itself."""
    return any(record[0] == STOPPED for record in split(content))


def as_error(record: Record) -> SetupError:
    """The exception that a FAILED record stands for."""
    _, stage, number, message, hint = record
    text = f"the sandbox could not be made (at `{stage}`): {message}"
    if not hint:
        from sandbox.linux.causes import mend

        hint = mend(str(stage), int(number))
    return SetupError(text, stage=str(stage), errno=int(number), hint=hint)

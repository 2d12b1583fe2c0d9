"""Reading and writing pypm.lock: missing, damaged and stale are three errors, each with its mend."""

from __future__ import annotations

from pypm.codec.lockfile import dump_lock, load_lock
from pypm.codec.pyproject import content_hash
from pypm.errors import LockError
from pypm.files import storage_errors, sweep_beside, write_atomically
from pypm.model.lock import Lock
from pypm.paths import LOCK_FILE
from pypm.regular import read_regular
from pypm.workflow.context import Context
from pypm.workflow.signatures import require_signature


def read_lock(context: Context) -> Lock:
    """Return the project's lock, whether or not it still fits the project.

    Raises:
        LockError: there is none, it is damaged, or of a newer format.
        IntegrityError: it was edited, or is not signed as required.
    """
    lock = read_lock_if_any(context)
    if lock is None:
        raise LockError(
            f"there is no `{LOCK_FILE}` in `{context.root}`",
            reference="missing-lock",
            hint="`pypm lock` makes it",
        )
    return lock


def read_lock_if_any(context: Context) -> Lock | None:
    """Return the project's lock, or None where there is none.

    Every command that uses a lock reads it here, so that a signature that is required is verified first.

    Raises:
        LockError: it is damaged, or of a newer format.
        IntegrityError: it was edited, or is not signed as required.
    """
    content = read_lock_bytes(context)
    if content is None:
        return None
    require_signature(context, content)
    return load_lock(content)


def read_lock_bytes(context: Context) -> bytes | None:
    """Return the lock's bytes, or None where there is none."""
    with storage_errors(f"read `{context.lock_path}`"):
        try:
            return read_regular(context.lock_path)
        except FileNotFoundError:
            return None


def fits(context: Context, lock: Lock) -> bool:
    """Whether the lock answers to what the project asks for now."""
    return lock.content_hash == content_hash(context.project)


def write_lock(context: Context, lock: Lock, content: bytes | None = None) -> bool:
    """Write the lock in one rename, unless its bytes are there already; return whether it was written.

    `content` is the lock's text, where the caller has it.
    """
    content = content or dump_lock(lock)
    sweep_beside(context.lock_path)
    if read_lock_bytes(context) == content:
        return False
    write_atomically(context.lock_path, content)
    return True

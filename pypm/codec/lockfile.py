"""`pypm.lock`: bytes to `Lock` and back, and what can be wrong with such a file, each with its mend.

Two digests stand at its top. The content-hash is over what the project asked for: when it differs, the
project changed and the lock is stale. The lock-hash is over the lock's own content, independent of key order,
white space and comments: when it differs, somebody edited the file or a merge mixed two.
"""

from __future__ import annotations

import re
from typing import Any

from pypm.codec.lockdata import PLACEHOLDER, lock_to_data
from pypm.codec.lockreader import LockReader
from pypm.codec.locktext import read_text, write_text
from pypm.digest import Sha256, content_digest
from pypm.errors import ConfigurationError, IntegrityError, LockError
from pypm.model.lock import LOCK_VERSION, Lock

FILE_NAME = "pypm.lock"

_HEADER = (
    "# Made by `pypm lock`. To change it, change pyproject.toml and lock again: edits by hand are refused.\n"
)
_CONFLICT_MARKERS = re.compile(rb"^(<{7}( |$)|={7}$|>{7}( |$)|\|{7}( |$))", re.MULTILINE)


def dump_lock(lock: Lock) -> bytes:
    """Return the one text of this lock: sorted, one artifact a line, the same bytes for equal locks."""
    head: dict[str, Any] = {"lock-version": LOCK_VERSION, "content-hash": f"sha256:{lock.content_hash}"}
    content = lock_to_data(lock)
    seal = content_digest({**head, **content})
    return (_HEADER + write_text({**head, "lock-hash": f"sha256:{seal}", **content})).encode("utf-8")


def load_lock(content: bytes, *, file_name: str = FILE_NAME) -> Lock:
    """Return the lock that a file holds.

    A lock that was written by hand may have no lock-hash as long as it holds a placeholder in place of a
    hash: such a lock cannot be installed from, `pypm lock --refresh` completes it.

    Raises:
        LockError: the file is cut off, has merge conflicts, is no TOML, of a newer format or no valid lock.
        IntegrityError: its content is not what its lock-hash says.
    """
    data = _read(content, file_name)
    _check_version(data, file_name)
    is_sealed = _check_seal(data, file_name)
    lock = LockReader(file_name).lock(data)
    if not is_sealed and not has_placeholders(lock):
        raise IntegrityError(
            f"`{file_name}` has no `lock-hash`: it was edited or cut off",
            reference="lock-hash-missing",
            hint="restore it from version control, or make it anew with `pypm lock`",
        )
    return lock


def check_fresh(lock: Lock, content_hash: Sha256, *, file_name: str = FILE_NAME) -> None:
    """Check that the lock answers to what the project asks for now.

    Raises:
        LockError: it is stale.
    """
    if lock.content_hash != content_hash:
        raise LockError(
            f"`{file_name}` is stale: the project's requirements or settings changed since it was made",
            reference="lock-stale",
            hint="run `pypm lock`",
        )


def has_placeholders(lock: Lock) -> bool:
    """Tell whether some artifact has a placeholder in place of its hash."""
    return any(
        artifact.sha256 is None
        for package in lock.packages
        for artifact in (*package.wheels, package.sdist)
        if artifact is not None
    )


def _read(content: bytes, file_name: str) -> dict[str, Any]:
    if not content.strip():
        raise LockError(
            f"`{file_name}` is empty", reference="lock-truncated", hint="make it anew with `pypm lock`"
        )
    try:
        return read_text(content, file_name=file_name)
    except ConfigurationError as error:
        if match := _CONFLICT_MARKERS.search(content):
            line = content.count(b"\n", 0, match.start()) + 1
            raise LockError(
                f"`{file_name}` has an unresolved merge conflict (line {line})",
                reference="lock-merge-conflict",
                hint=f"merge pyproject.toml, take either side of `{file_name}`, then run `pypm lock`",
            ) from error
        if not content.endswith(b"\n") or "(at its end)" in error.message:
            raise LockError(
                f"`{file_name}` is cut off",
                reference="lock-truncated",
                hint="restore it from version control, or make it anew with `pypm lock`",
                details=error.details,
            ) from error
        raise LockError(
            error.message,
            reference="lock-malformed",
            hint="restore it from version control, or make it anew with `pypm lock`",
            details=error.details,
        ) from error


def _check_version(data: dict[str, Any], file_name: str) -> None:
    version = data.get("lock-version")
    if type(version) is not int or version < 1:
        raise LockError(
            f"`{file_name}` does not say its `lock-version`",
            reference="lock-malformed",
            hint="make it anew with `pypm lock`",
        )
    if version > LOCK_VERSION:
        # Later formats name the first pypm that reads them; nothing else of them is looked at.
        needed = data.get("requires-pypm")
        needs = f"pypm >= {needed}" if type(needed) is str else "a newer pypm"
        raise LockError(
            f"this lock needs {needs}: `{file_name}` has format {version}, not {LOCK_VERSION} or less",
            reference="lock-too-new",
            hint="update pypm, or make the lock anew with `pypm lock`",
        )


def _check_seal(data: dict[str, Any], file_name: str) -> bool:
    """Tell whether the lock has a lock-hash; where it has one, the content must fit."""
    seal = data.get("lock-hash", PLACEHOLDER)
    if seal == PLACEHOLDER:
        return False
    try:
        fits = seal == f"sha256:{content_digest({key: data[key] for key in data if key != 'lock-hash'})}"
    except (TypeError, ValueError):
        # A value that no lock holds, such as a date or an infinity.
        fits = False
    if not fits:
        raise IntegrityError(
            f"`{file_name}` was edited or badly merged: its content is not what its `lock-hash` says",
            reference="lock-edited",
            hint="restore it from version control, or make it anew with `pypm lock`",
        )
    return True

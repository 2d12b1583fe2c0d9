"""The user's consents, kept in files beside the user's configuration, which no run can write.

One file holds consents of one kind: for each place (a project's folder, a script), names and what was
consented to, as a digest. What a digest stands for is the business of whoever asks; whatever of it changes,
the digest is another and the consent is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pypm.errors import ConfigurationError
from pypm.files import locked, storage_errors, write_atomically

Consents = dict[str, dict[str, str]]
"""Place to name to digest."""


def read_consents(path: Path) -> Consents:
    """Return what a file of consents holds; nothing where there is none.

    Raises: ConfigurationError: it is malformed, or another user could have written it. StorageError.
    """
    with storage_errors(f"read `{path}`"):
        try:
            # A FIFO in its place would wait for whoever writes to it.
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(stream.fileno())
            content = stream.read() if stat.S_ISREG(status.st_mode) else None
    if content is None:
        raise _unusable(path, "is not a file")
    if os.name == "posix" and (
        status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        raise _unusable(path, "can be written by other users")
    try:
        known: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _unusable(path, "is not JSON") from error
    tables = known.values() if isinstance(known, dict) else [None]
    if not all(
        isinstance(table, dict) and all(isinstance(digest, str) for digest in table.values())
        for table in tables
    ):
        raise _unusable(path, "does not hold consents")
    return dict(known)


def write_consents(path: Path, place: str, changes: dict[str, str | None]) -> None:
    """Keep the consents of one place: each name with its digest, or with None forgotten.

    Raises: ConfigurationError, StorageError.
    """
    with _alone(path):
        known = read_consents(path)
        names = {**known.get(place, {}), **changes}
        known[place] = {name: digest for name, digest in names.items() if digest is not None}
        known = {each: table for each, table in known.items() if table}
        write_atomically(path, json.dumps(known, indent=2, sort_keys=True).encode() + b"\n", mode=0o600)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with storage_errors(f"write to `{path.parent}`"):
        path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent / f".{path.name}.lock"):
        yield


def _unusable(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"`{path}` {problem}, so none of its consents counts",
        reference="trust-unusable",
        hint="look at it, or remove it and consent again",
    )

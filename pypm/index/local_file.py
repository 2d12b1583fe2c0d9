"""Archives that lie on this machine: a path dependency, or a folder of files in an index's place."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pypm.digest import CHUNK_BYTES
from pypm.errors import IndexAccessError, IntegrityError
from pypm.files import storage_errors
from pypm.model.artifact import LockedArtifact


def copy_archive(source: Path, artifact: LockedArtifact, destination: Path) -> None:
    """Copy a file into the cache, if it is the one that was locked.

    A copy, because the file is the user's and may change or go at any time.

    Raises:
        IndexAccessError: there is no such file.
        IntegrityError: it is another file.
        StorageError: the disk refused.
    """
    if not source.is_file():
        raise IndexAccessError(
            f"`{source}` does not exist",
            reference="artifact-not-found",
            hint="bring the file back, or change `[tool.pypm.sources]` and run `pypm lock`",
        )
    part = destination.with_name(f"{destination.name}.part")
    state = hashlib.sha256()
    with storage_errors(f"copy `{source}`"):
        with source.open("rb") as original, part.open("wb") as copy:
            while chunk := original.read(CHUNK_BYTES):
                state.update(chunk)
                copy.write(chunk)
        if state.hexdigest() == artifact.sha256:
            part.replace(destination)
            return
        part.unlink()
    raise IntegrityError(
        f"`{source}` is not the file that was locked",
        reference="hash-mismatch",
        hint="if you know why it changed, run `pypm lock --refresh`",
        details=(f"expected sha256:{artifact.sha256}", f"got      sha256:{state.hexdigest()}"),
    )

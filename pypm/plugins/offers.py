"""Files that a plugin offers for artifacts: copied from its own folder, and only with the locked hash."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pypm.digest import CHUNK_BYTES, Sha256
from pypm.files import storage_errors

_LARGEST_BYTES = 8 << 30
"""Of a file whose size nobody knows; a host cannot write a larger one either."""

_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One offered file. The plugin still runs and can change it: only `take` says what it holds."""

    plugin: str
    package: int
    """Place of the package in the context's `packages`."""
    sha256: Sha256 | None
    """What the context said that the artifact's hash is."""
    size_bytes: int
    """What it said of the size; 0 where it is not known."""
    scratch: Path
    parts: tuple[str, ...]
    """The path below `scratch`."""

    def take(self, destination: Path) -> bool:
        """Copy the file to `destination`, which must not exist; return whether it is the locked artifact.

        Otherwise nothing is left at `destination`. No link is followed at any step of the path, so that the
        plugin cannot have a file read that it may not read itself. No more is copied than the artifact has,
        for a file can be sparse, or grow while it is read.

        Raises: StorageError: the destination cannot be written.
        """
        source = self._open()
        if source is None or self.sha256 is None:
            return False
        state = hashlib.sha256()
        left_bytes = self.size_bytes or _LARGEST_BYTES
        with os.fdopen(source, "rb", buffering=0) as stream, storage_errors(f"write `{destination}`"):
            with destination.open("xb") as copy:
                while chunk := stream.read(min(CHUNK_BYTES, left_bytes + 1)):
                    left_bytes -= len(chunk)
                    if left_bytes < 0:
                        break
                    state.update(chunk)
                    copy.write(chunk)
            if left_bytes >= 0 and state.hexdigest() == self.sha256:
                return True
            destination.unlink()
            return False

    def read(self, most_bytes: int) -> bytes | None:
        """Return a small file's content; None where it is none, or has more bytes than that."""
        source = self._open()
        if source is None:
            return None
        with os.fdopen(source, "rb") as stream:
            content = stream.read(most_bytes + 1)
        return content if len(content) <= most_bytes else None

    def _open(self) -> int | None:
        """Open the file step by step; None where it is not a regular file in real folders."""
        folder = os.open(self.scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in self.parts[:-1]:
                inner = os.open(part, _FLAGS | os.O_DIRECTORY, dir_fd=folder)
                os.close(folder)
                folder = inner
            found = os.open(self.parts[-1], _FLAGS, dir_fd=folder)
        except OSError:
            return None
        finally:
            os.close(folder)
        if stat.S_ISREG(os.fstat(found).st_mode):
            return found
        os.close(found)
        return None

    def is_there(self) -> bool:
        """Whether a regular file lies there now."""
        found = self._open()
        if found is not None:
            os.close(found)
        return found is not None


def parts_below(scratch: Path, text: str) -> tuple[str, ...] | None:
    """Return the steps from `scratch` to an offered path, or None if it does not lie there."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return None
    path = PurePosixPath(text)
    if path.is_absolute():
        if not path.is_relative_to(scratch):
            return None
        path = path.relative_to(scratch)
    if not path.parts or ".." in path.parts or "\0" in text:
        return None
    return path.parts

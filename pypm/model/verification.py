"""What a folder should hold, and where it differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple


class ExpectedFile(NamedTuple):
    """One file or link of a folder; an environment has twenty thousand."""

    owner: str
    """The package that brings it; empty for what belongs to the environment itself."""
    sha256: str
    """Of its content; empty where the content is proven elsewhere."""
    size_bytes: int = 0
    mode: int = 0
    mode_mask: int = 0o7777
    """Which bits of the mode matter: those that the caller's umask decides do not."""
    mtime_ns: int | None = None
    """None: any time is right."""
    target: str | None = None
    """Where a symbolic link points; None for a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One file that is not as it should be."""

    what: Literal["changed", "added", "missing"]
    package: str
    """Whose file it is, or beside whose files it lies; empty where that is nobody's."""
    path: str

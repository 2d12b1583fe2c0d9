"""Files of an index: as its page lists them, and as the lock vouches for them."""

from __future__ import annotations

from msgspec import Struct

from pypm.digest import Sha256

__all__ = ["IndexFile", "LockedArtifact", "Sha256"]


class IndexFile(Struct, frozen=True, kw_only=True):
    """One file entry of a project page (PEP 503, PEP 691, PEP 700)."""

    filename: str
    url: str
    """Absolute, credentials removed."""
    sha256: Sha256 | None
    """None where the index gives no sha256: such a file can only be locked after a download."""
    size_bytes: int | None = None
    requires_python: str | None = None
    """The raw specifier; parsed late, because most entries are never looked at."""
    yanked: str | None = None
    """None: not yanked. Otherwise the reason, possibly empty (PEP 592)."""
    upload_time: str | None = None
    """ISO 8601 in UTC, as the index gave it."""
    metadata_sha256: Sha256 | None = None
    """Hash of `<url>.metadata` (PEP 658, PEP 714) when the index advertises one."""
    has_metadata: bool = False
    """The index advertises `<url>.metadata`, with or without its hash."""


class LockedArtifact(Struct, frozen=True, kw_only=True):
    """One wheel or sdist that the lock vouches for. Bound to no host."""

    filename: str
    sha256: Sha256 | None
    """None stands for the placeholder `sha256:TODO-sha256`: `sync` refuses it, `lock --refresh` fills it."""
    size_bytes: int | None = None
    path: str | None = None
    """Where the file lies below the index's file base; a hint, never trusted over the hash."""
    upload_time: str | None = None
    merkle_root: Sha256 | None = None
    """RFC 6962 root over the wheel's files, where the lock holds it."""

    @property
    def is_wheel(self) -> bool:
        return self.filename.endswith(".whl")

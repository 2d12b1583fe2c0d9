"""Where a locked artifact lies now: the lock names no host, so the index's file base and pages tell.

Many indexes lay files out as the public one does, `<aa>/<bb>/<60 hex digits>/<name>`, each below a base
of its own. There the last four segments are the hint in the lock, and everything before them is the index's
base, learnt from any of its pages and remembered. Elsewhere the hint is the whole path below the host.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.utils import NormalizedName

from pypm.errors import IntegrityError
from pypm.index.cache import IndexCache
from pypm.index.pages import Pages
from pypm.model.artifact import LockedArtifact
from pypm.model.project import Index

_LAYOUT = re.compile(r"(.*/)([0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/[^/?#]+)", re.ASCII)
_HOST = re.compile(r"(\w+://[^/?#]*/)([^?#]+)", re.ASCII)


def split_address(url: str) -> tuple[str, str] | None:
    """Return a file's base and its path hint; joined they are the address. None where nothing splits."""
    match = _LAYOUT.fullmatch(url) or _HOST.fullmatch(url)
    return None if match is None else (match[1], match[2])


def path_hint(url: str) -> str | None:
    """Return what the lock notes of an address, so that the same lock serves mirrors."""
    split = split_address(url)
    return None if split is None or not url.startswith(("http://", "https://")) else split[1]


class Locator:
    """Finds addresses for locked artifacts. Safe to share between threads."""

    def __init__(self, pages: Pages, cache: IndexCache) -> None:
        self._pages = pages
        self._cache = cache

    def hinted(self, index: Index, artifact: LockedArtifact) -> str | None:
        """Return the address that the lock's hint leads to, if the index's base is known; nobody is asked."""
        base = self._cache.note(f"base {index.url}")
        if base is None or artifact.path is None or not _is_plain_hint(artifact.path):
            return None
        return base + artifact.path

    def urls(self, index: Index, name: NormalizedName, artifact: LockedArtifact) -> Iterator[str]:
        """Yield addresses of an artifact, the likeliest first; the index is only asked when that one fails.

        Raises:
            IntegrityError: the index has a file of this name with another hash.
            IndexAccessError: the index could not be asked.
        """
        tried = self.hinted(index, artifact)
        if tried is not None:
            yield tried
        page = self._pages.flat(index) if index.flat else self._pages.project(index, name)
        for entry in page.entries if page is not None else ():
            if entry.filename != artifact.filename:
                continue
            if None not in (entry.sha256, artifact.sha256) and entry.sha256 != artifact.sha256:
                raise IntegrityError(
                    f"index `{index.name}` has another `{artifact.filename}` than the one that was locked",
                    reference="index-hash-changed",
                    hint="do not use it before you know why; `pypm lock --refresh` shows what changed",
                    details=(f"locked sha256:{artifact.sha256}", f"index  sha256:{entry.sha256}"),
                )
            split = split_address(entry.url)
            if split is not None and split[1] == artifact.path:
                self._cache.store_note(f"base {index.url}", split[0])
            if entry.url != tried:
                yield entry.url


def _is_plain_hint(path: str) -> bool:
    """The lock may be edited: a hint leads below the base or nowhere."""
    segments = path.split("/")
    return "\\" not in path and "" not in segments and ".." not in segments and not path.isspace()

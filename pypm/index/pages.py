"""Project pages of indexes: from the cache while fresh, revalidated or fetched otherwise; flat places too."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName, canonicalize_name

from pypm.codec.filenames import SDIST_EXTENSIONS
from pypm.codec.simple import PageFile, SimplePage, parse_page, redact
from pypm.errors import IndexAccessError
from pypm.index.auth import split_login
from pypm.index.cache import CachedPage, IndexCache, PackedPage
from pypm.index.client import Answer, Client
from pypm.model.project import Index
from pypm.regular import read_regular


class Sheet(Protocol):
    """A page that is opened again and again; each call may make its entries anew."""

    def open(self) -> SimplePage:
        """Return the page."""

    def files_at(self, places: Sequence[int]) -> Sequence[PageFile]:
        """Return some of its entries."""


class OpenSheet(Struct, frozen=True):
    """A page that is held as it is: a local one, or a flat one that serves many packages."""

    page: SimplePage

    def open(self) -> SimplePage:
        """Return the page."""
        return self.page

    def files_at(self, places: Sequence[int]) -> Sequence[PageFile]:
        """Return some of its entries."""
        return [self.page.entries[place] for place in places]


class Pages:
    """Reads pages. Safe to share between threads; a page asked for twice at once is fetched twice."""

    def __init__(self, client: Client, cache: IndexCache) -> None:
        self._client = client
        self._cache = cache

    def project(self, index: Index, name: NormalizedName) -> SimplePage | None:
        """Return an index's page of a project, or None when the index has none.

        Raises:
            IndexAccessError: the index could not be asked, or its answer is not a page of this project.
        """
        sheet = self.sheet(index, name)
        return None if sheet is None else sheet.open()

    def sheet(self, index: Index, name: NormalizedName) -> Sheet | None:
        """Return an index's page of a project, not opened yet; None when the index has none.

        Raises:
            IndexAccessError: the index could not be asked, or its answer is not a page of this project.
        """
        url = f"{split_login(index.url)[0].rstrip('/')}/{name}/"
        if urlsplit(url).scheme == "file":
            local = _local_page(local_path(url) / "index.html", url)
            return None if local is None else OpenSheet(local)
        packed = self._page(url)
        if packed is None:
            return None
        if packed.name is not None and canonicalize_name(packed.name) != name:
            raise IndexAccessError(
                f"`{redact(url)}` answered with the page of `{packed.name[:80]}`",
                reference="index-wrong-project",
                hint="check the index's URL",
            )
        return packed

    def flat(self, index: Index) -> SimplePage:
        """Return what a flat place (find-links) lists: a folder of this machine, or one page of links.

        Raises:
            IndexAccessError: it does not exist or could not be read.
        """
        url = split_login(index.url)[0]
        if urlsplit(url).scheme in ("http", "https"):
            packed = self._page(url)
            page = None if packed is None else packed.open()
        else:
            path = local_path(url)
            page = _folder(path) if path.is_dir() else _local_page(path, path.absolute().as_uri())
        if page is None:
            raise IndexAccessError(
                f"the flat index `{redact(url)}` does not exist",
                reference="index-missing",
                hint="check its path or address, in `[[tool.pypm.index]]` or behind `--find-links`",
            )
        return page

    def _page(self, url: str) -> PackedPage | None:
        cached = self._cache.page(url)
        if cached is not None and (self._cache.is_fresh(cached) or self._client.settings.offline):
            return cached.page
        answer = self._client.get_page(url, _conditions(cached))
        record = self._record(answer, cached, url)
        self._cache.store_page(url, record)
        return record.page

    def _record(self, answer: Answer, cached: CachedPage | None, url: str) -> CachedPage:
        now = self._cache.now()
        if answer.status == 304:
            if cached is None:
                raise IndexAccessError(
                    f"`{redact(url)}` answered that nothing changed, but nothing was known",
                    reference="index-status",
                )
            return replace(cached, fetched_at=now)
        body_sha256 = sha256(answer.content).hexdigest()
        page = None
        if answer.status not in (404, 410):
            content_type = answer.headers.get("content-type", "")
            if cached is not None and (cached.body_sha256, cached.final_url) == (body_sha256, answer.url):
                page = cached.page
            if page is None or page.content_type != content_type:
                opened = parse_page(answer.content, content_type, url=answer.url)
                packed = answer.coded
                kept = answer.content if packed is None else packed
                page = PackedPage(kept, content_type, answer.url, first=opened, is_packed=packed is not None)
        return CachedPage(
            fetched_at=now,
            body_sha256=body_sha256,
            final_url=answer.url,
            page=page,
            etag=None if page is None else answer.headers.get("etag"),
            last_modified=None if page is None else answer.headers.get("last-modified"),
        )


def _conditions(cached: CachedPage | None) -> dict[str, str]:
    """Return the headers that ask whether a page changed (RFC 9110, section 13)."""
    conditions: dict[str, str] = {}
    if cached is not None and cached.etag:
        conditions["if-none-match"] = cached.etag
    if cached is not None and cached.last_modified:
        conditions["if-modified-since"] = cached.last_modified
    return conditions


def local_path(url: str) -> Path:
    """Return the path that a `file:` URL or a plain path names."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return Path(url)
    # Late: it brings the library's own client, and most indexes are far.
    from urllib.request import url2pathname

    return Path(url2pathname(parts.path))


def _local_page(path: Path, url: str) -> SimplePage | None:
    try:
        content = read_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    return parse_page(content, "text/html", url=url)


def _folder(path: Path) -> SimplePage:
    try:
        found = sorted(entry for entry in path.iterdir() if entry.name.endswith((".whl", *SDIST_EXTENSIONS)))
        entries = tuple(
            PageFile(entry.name, entry.absolute().as_uri(), size=entry.stat().st_size)
            for entry in found
            if entry.is_file()
        )
    except OSError as error:
        raise _unreadable(path, error) from error
    return SimplePage(None, entries)


def _unreadable(path: Path, error: OSError) -> IndexAccessError:
    return IndexAccessError(
        f"the local index `{path}` cannot be read: {error.strerror or error}", reference="index-unreadable"
    )

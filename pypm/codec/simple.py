"""Project pages of an index: HTML or JSON to file entries, and nothing that a page may not say.

A page is hostile until shown otherwise. It may be a login form, an error in HTML, a link to `file:`, a name
with `..` in it. Entries that cannot be used safely are left out; a page on which nothing is usable is refused
with what it seems to be.

Source: PEP 503 (HTML), PEP 691 (JSON), PEP 592 (yanked), PEP 629 (version), PEP 658 and 714 (metadata),
PEP 700 (size, upload time).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from operator import methodcaller
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import msgspec

from pypm.codec.filenames import SDIST_EXTENSIONS, filename_of_url, is_safe_filename
from pypm.errors import IndexAccessError
from pypm.model.artifact import IndexFile, Sha256

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
"""JSON where the index has it: it is parsed faster and carries sizes."""

SUPPORTED_MAJOR = 1
"""PEP 629: a page of a newer major version may mean something else by the same words."""

_ARCHIVES = (".whl", *SDIST_EXTENSIONS)
_PLAIN_HOST = r"[a-z]+://[A-Za-z0-9.-]+(?::\d{1,5})?/"
_PLAIN_ADDRESS = re.compile(_PLAIN_HOST + r"[^#@\\\x00-\x20]*", re.ASCII)
_PLAIN_LINK = re.compile(
    rf"({_PLAIN_HOST}(?:[^#?@\\%\x00-\x20]*/)?([A-Za-z0-9][A-Za-z0-9._+!-]{{0,240}}\.(?:whl|tar\.gz|zip)))"
    r"#sha256=([0-9a-f]{64})",
    re.ASCII,
)
"""A link that needs no thought, as nearly all are: address, file name, digest."""

_PLAIN_START = re.compile(_PLAIN_HOST, re.ASCII)
_LONGEST_PLAIN_NAME = 240

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LINK_SCHEMES = {
    "https": frozenset({"https"}),
    "http": frozenset({"http", "https"}),
    "file": frozenset({"file", "http", "https"}),
}
"""Where a page may lead: never from the network to this disk, never from an encrypted page to a plain
file."""


class PageHashes(msgspec.Struct, frozen=True, gc=False):
    """The digests of an entry, of which one counts."""

    sha256: str | None = None


_NO_HASHES = PageHashes()


class PageFile(msgspec.Struct, frozen=True, gc=False):
    """One entry as JSON pages have it, so that thousands are decoded at once and looked at never.

    See `IndexFile`, which the few that are looked at become.
    """

    filename: str
    url: str
    hashes: PageHashes = _NO_HASHES
    requires_python: str | None = msgspec.field(name="requires-python", default=None)
    yanked: bool | str | None = False
    size: int | None = None
    upload_time: str | None = msgspec.field(name="upload-time", default=None)
    core_metadata: bool | dict[str, str] | None = msgspec.field(name="core-metadata", default=None)
    dist_info_metadata: bool | dict[str, str] | None = msgspec.field(name="dist-info-metadata", default=None)
    legacy_metadata: bool | dict[str, str] | None = msgspec.field(
        name="data-dist-info-metadata", default=None
    )

    @property
    def sha256(self) -> str | None:
        """The digest of the file."""
        return self.hashes.sha256

    def index_file(self) -> IndexFile:
        """Return the entry as the model has it."""
        advert = self.core_metadata
        if advert is None:
            advert = self.dist_info_metadata if self.dist_info_metadata is not None else self.legacy_metadata
        announced = _digest(advert.get("sha256")) if isinstance(advert, dict) else None
        yanked = self.yanked
        return IndexFile(
            filename=self.filename,
            url=self.url,
            sha256=None if self.sha256 is None else Sha256(self.sha256),
            size_bytes=self.size if self.size is None or self.size >= 0 else None,
            requires_python=self.requires_python or None,
            yanked="" if yanked is True else yanked if isinstance(yanked, str) else None,
            upload_time=self.upload_time,
            metadata_sha256=None if announced is None else Sha256(announced),
            has_metadata=bool(advert) or isinstance(advert, dict),
        )


class SimplePage(msgspec.Struct, frozen=True):
    """A project page, or a flat page of links."""

    name: str | None
    """As the page gives it (JSON only)."""
    entries: Sequence[PageFile]
    """Wheels and source distributions in the page's order."""
    places: Sequence[int] | None = None
    """Where the entries stand in the page's JSON, if they are what is written there: for `files_at`."""

    @property
    def files(self) -> tuple[IndexFile, ...]:
        """Every entry as the model has it; made anew at each call."""
        return tuple(entry.index_file() for entry in self.entries)


MAX_PAGE_FILES = 100_000
"""Several times what the largest projects of the public index have."""


def parse_page(content: bytes, content_type: str, *, url: str) -> SimplePage:
    """Return the page's entries; links are made absolute against `url`, where the page was finally found.

    Raises:
        IndexAccessError: this is not a project page, or one of a newer major version.
    """
    kind = content_type.partition(";")[0].strip().lower()
    is_json = kind == "application/json" or kind.endswith("+json")
    # Counted before parsing: a page of a few dozen megabytes can become gigabytes of objects.
    if content.count(b'"filename"' if is_json else b"href") > MAX_PAGE_FILES:
        raise _not_a_page(url, f"lists more than {MAX_PAGE_FILES:,} files")
    if is_json:
        return _parse_json(content, url)
    if kind in ("text/html", "application/xhtml+xml", "application/vnd.pypi.simple.v1+html", ""):
        return _parse_html(content, url)
    raise _not_a_page(url, f"is of type `{kind}`")


class _JsonMeta(msgspec.Struct, frozen=True):
    api_version: str = msgspec.field(name="api-version", default="1.0")


class _JsonPage(msgspec.Struct):
    files: list[PageFile]
    name: str | None = None
    meta: _JsonMeta = _JsonMeta()


class _RawPage(msgspec.Struct):
    files: list[msgspec.Raw]


_JSON = msgspec.json.Decoder(_JsonPage)
_RAW = msgspec.json.Decoder(_RawPage)
_FILE = msgspec.json.Decoder(PageFile)


def files_at(content: bytes, places: Sequence[int]) -> list[PageFile]:
    """Return some entries of a page of JSON that was found to be plain; the others are not even decoded."""
    files = _RAW.decode(content).files
    return [_FILE.decode(files[place]) for place in places]


def _parse_json(content: bytes, url: str) -> SimplePage:
    try:
        page = _JSON.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _not_a_page(url, f"is not the JSON of a project page ({error})") from error
    _check_version(page.meta.api_version, url)
    links = _Links(url, base=None)
    # JSON writes control characters and backslashes with a backslash, so a page without one has neither.
    places: Sequence[int] = range(len(page.files))
    archives = page.files
    if not all(file.filename.endswith(_ARCHIVES) for file in archives):
        places = array("I", [i for i in places if archives[i].filename.endswith(_ARCHIVES)])
        archives = [archives[place] for place in places]
    if b"\\" not in content and _are_plain(archives, links.prefixes):
        return SimplePage(page.name, archives, places)
    for file in archives:
        links.add(file)
    return SimplePage(page.name, links.finish())


_LAST_SEGMENT = methodcaller("rpartition", "/")


def _are_plain(files: list[PageFile], prefixes: tuple[str, ...]) -> bool:
    """Tell whether no archive of a page needs thought, as on nearly all pages.

    The entries are looked at together: a page holds thousands, and each check that is made of all of them at
    once costs less than of ten of them one by one. False only means that each has to be looked at.
    """
    if not files:
        return True
    host = _PLAIN_START.match(files[0].url)
    if host is None or not host[0].startswith(prefixes):
        return False
    urls = [file.url for file in files]
    filenames = [file.filename for file in files]
    digests = [file.hashes.sha256 for file in files]
    if None in digests:
        return False
    addresses = "\n" + "\n".join(urls)
    names = "\n".join(filenames)
    return (
        addresses.count("\n" + host[0]) == addresses.count("\n") == names.count("\n") + 1 == len(files)
        and addresses.isascii()
        and not any(mark in addresses for mark in "#?@% ")
        and not names.startswith((".", "-"))
        and "\n." not in names
        # The last segment of an address has no slash, so the name has none either.
        and [last for _, _, last in map(_LAST_SEGMENT, urls)] == filenames
        and max(map(len, filenames)) <= _LONGEST_PLAIN_NAME
        and set(map(len, digests)) == {64}  # type: ignore[arg-type]
        and _is_hexadecimal("".join(digests))  # type: ignore[arg-type]
    )


def _is_hexadecimal(text: str) -> bool:
    try:
        return bytes.fromhex(text).hex() == text
    except ValueError:
        return False


def _parse_html(content: bytes, url: str) -> SimplePage:
    from selectolax.lexbor import LexborHTMLParser  # Late: most indexes answer in JSON.

    tree = LexborHTMLParser(content)
    for meta in tree.css('meta[name="pypi:repository-version"]'):
        _check_version(meta.attributes.get("content") or "", url)
    anchors = tree.css("a[href]")
    base = tree.css_first("base[href]")
    links = _Links(url, base=None if base is None else base.attributes.get("href"))
    for anchor in anchors:
        attributes = anchor.attributes
        href = attributes["href"] or ""
        plain = _PLAIN_LINK.fullmatch(href)
        if plain is not None and href.startswith(links.prefixes):
            address, filename, digest = plain.groups()
            links.entries.append(_html_entry(filename, address, digest, attributes))
            continue
        target, _, fragment = href.partition("#")
        filename = filename_of_url(target)
        if not filename.endswith(_ARCHIVES):
            # An address like `/download?id=7`: then the text is the name, as PEP 503 has it.
            filename = anchor.text(strip=True)
        links.add(_html_entry(filename, target.strip(), _fragment_sha256(fragment), attributes))
    entries = links.finish()
    if not entries:
        _require_project_page(tree, url, has_anchors=bool(anchors))
    return SimplePage(None, entries)


def _html_entry(
    filename: str, address: str, sha256: str | None, attributes: dict[str, str | None]
) -> PageFile:
    """Return a link with what its attributes say: Python, yanked, upload time, metadata."""
    advert = attributes.get("data-core-metadata", attributes.get("data-dist-info-metadata", "false"))
    announced = None if advert == "false" else _digest(_fragment_sha256(advert or ""))
    return PageFile(
        filename,
        address,
        PageHashes(sha256),
        requires_python=attributes.get("data-requires-python") or None,
        yanked=(attributes["data-yanked"] or "") if "data-yanked" in attributes else None,
        upload_time=attributes.get("data-upload-time"),
        core_metadata=advert != "false" if announced is None else {"sha256": announced},
    )


def _fragment_sha256(fragment: str) -> str | None:
    """Return the digest of `sha256=...`, possibly one of several parameters of a fragment."""
    if fragment.startswith("sha256=") and "&" not in fragment:
        return fragment[7:]
    for parameter in fragment.split("&"):
        if parameter.startswith("sha256="):
            return parameter[7:]
    return None


class _Links:
    """Collects entries, makes addresses absolute and leaves out what must not be followed."""

    def __init__(self, url: str, *, base: str | None) -> None:
        self._url = url
        self._base = urljoin(url, base) if base else url
        self._allowed = _LINK_SCHEMES.get(urlsplit(url).scheme.lower(), frozenset[str]())
        self._refused: str | None = None
        self.prefixes = tuple(f"{scheme}://" for scheme in sorted(self._allowed - {"file"}))
        """How an address begins that may be followed as it stands."""
        self.entries: list[PageFile] = []

    def add(self, entry: PageFile) -> None:
        """Keep an entry, its address made absolute, when it is a wheel or sdist that may be fetched."""
        filename, address, sha256 = entry.filename, entry.url, entry.sha256
        if not filename.endswith(_ARCHIVES):
            return
        if not address.startswith(self.prefixes) or _PLAIN_ADDRESS.fullmatch(address) is None:
            joined = _absolute(self._base, address)
            if joined is None or urlsplit(joined).scheme not in self._allowed:
                self._refused = f"leads to `{redact(address)}`, which a page of this kind must not"
                return
            address = joined
        if not is_safe_filename(filename):
            self._refused = f"names a file `{filename!a}`, which is no plain file name"
            return
        if sha256 is not None:
            sha256 = _digest(sha256)
            if sha256 is None:
                # A hash that cannot be checked is no weaker promise than a wrong one.
                self._refused = f"gives `{filename}` a sha256 that is not one"
                return
        if address is not entry.url or sha256 is not entry.sha256:
            entry = msgspec.structs.replace(entry, url=address, hashes=PageHashes(sha256))
        self.entries.append(entry)

    def finish(self) -> tuple[PageFile, ...]:
        """Return the entries; when every one was refused, say why instead of showing an empty project."""
        if self._refused is not None and not self.entries:
            raise _not_a_page(self._url, self._refused)
        return tuple(self.entries)


def _digest(text: str | None) -> str | None:
    """Return a sha256 in lower case, or None when it is not one."""
    if text is None or _SHA256.fullmatch(text) is not None:
        return text
    return text.lower() if _SHA256.fullmatch(text.lower()) is not None else None


def _absolute(base: str, href: str) -> str | None:
    """Return an absolute address without credentials, or None when there is no making sense of it."""
    try:
        parts = urlsplit(urljoin(base, href))
        _ = parts.port
    except ValueError:
        return None
    if "\\" in parts.netloc or "\\" in parts.path or (not parts.hostname and parts.scheme != "file"):
        return None
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def redact(url: str) -> str:
    """Return an address fit for messages: no credentials, no query, and of a bearable length."""
    scheme, separator, rest = url.partition("://")
    if separator:
        authority, slash, path = rest.partition("/")
        url = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    url = url.partition("#")[0].partition("?")[0]
    return url if len(url) <= 200 else f"{url[:197]}..."


def _check_version(text: str, url: str) -> None:
    match = re.fullmatch(r"(\d{1,6})\.\d{1,6}", text.strip(), re.ASCII)
    if match is None:
        raise _not_a_page(url, f"claims the interface version `{text[:40]}`, which is not one")
    if int(match[1]) > SUPPORTED_MAJOR:
        raise IndexAccessError(
            f"`{redact(url)}` speaks version {text.strip()} of the index interface,"
            f" and this pypm knows {SUPPORTED_MAJOR}",
            reference="index-too-new",
            hint="use a newer pypm, or another index",
        )


def _require_project_page(tree: LexborHTMLParser, url: str, *, has_anchors: bool) -> None:
    """Return when a page without a usable file may be an empty project; raise saying what it is otherwise."""
    if tree.css_first('input[type="password"]') is not None or _is_login_address(url):
        raise IndexAccessError(
            f"`{redact(url)}` answered with a login page",
            reference="index-login-page",
            hint="give credentials for the index: in `~/.netrc`, in its URL, or in the environment",
        )
    if tree.css_first("form") is not None:
        raise _not_a_page(url, "is a form, not a list of links")
    title = tree.css_first("title")
    is_index = title is not None and title.text().strip().lower().startswith(("links for", "simple index"))
    if is_index or has_anchors or tree.css_first('meta[name="pypi:repository-version"]') is not None:
        return
    raise _not_a_page(url, "holds no links")


def _is_login_address(url: str) -> bool:
    segments = urlsplit(url).path.lower().split("/")
    return not {"login", "signin", "sign-in", "sso", "oauth", "authorize"}.isdisjoint(segments)


def _not_a_page(url: str, what: str) -> IndexAccessError:
    return IndexAccessError(
        f"the answer of `{redact(url)}` {what}",
        reference="index-not-a-page",
        hint="check the index's URL; most end in `/simple`",
    )

"""Project pages: both formats, and everything that is none."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypm.codec.simple import MAX_PAGE_FILES, files_at, parse_page, redact
from pypm.errors import IndexAccessError
from tests.support.index_server import JSON_TYPE, LOGIN_PAGE

URL = "https://index.invalid/simple/demo/"
HASH = "0123456789abcdef" * 4


def html(*anchors: str, head: str = "") -> bytes:
    return f"<!DOCTYPE html><html><head>{head}</head><body>{''.join(anchors)}</body></html>".encode()


def page(*files: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"meta": {"api-version": "1.1"}, "name": "demo", "files": files, **more}).encode()


def test_html_attributes() -> None:
    anchor = (
        f'<a href="https://files.invalid/demo-1.0-py3-none-any.whl#sha256={HASH}"'
        ' data-requires-python="&gt;=3.8" data-yanked="broken &amp; old"'
        ' data-upload-time="2024-01-02T03:04:05Z"'
        f' data-core-metadata="sha256={HASH}">demo-1.0-py3-none-any.whl</a>'
    )
    (file,) = parse_page(html(anchor), "text/html; charset=utf-8", url=URL).files
    assert file.filename == "demo-1.0-py3-none-any.whl"
    assert file.url == "https://files.invalid/demo-1.0-py3-none-any.whl"
    assert file.sha256 == file.metadata_sha256 == HASH
    assert file.requires_python == ">=3.8"
    assert file.yanked == "broken & old"
    assert file.upload_time == "2024-01-02T03:04:05Z"
    assert file.has_metadata


@pytest.mark.parametrize(
    ("attribute", "yanked"),
    [("", None), ("data-yanked", ""), ('data-yanked=""', ""), ('data-yanked="x"', "x")],
)
def test_html_yanked(attribute: str, yanked: str | None) -> None:
    (file,) = parse_page(html(f'<a href="demo-1.tar.gz" {attribute}>x</a>'), "text/html", url=URL).files
    assert file.yanked == yanked


@pytest.mark.parametrize(
    ("attribute", "has_metadata", "digest"),
    [
        ("", False, None),
        ('data-core-metadata="true"', True, None),
        ('data-core-metadata="false"', False, None),
        (f'data-dist-info-metadata="sha256={HASH}"', True, HASH),
        (f'data-core-metadata="false" data-dist-info-metadata="sha256={HASH}"', False, None),
    ],
)
def test_html_metadata_advert(attribute: str, has_metadata: bool, digest: str | None) -> None:
    (file,) = parse_page(html(f'<a href="demo-1.tar.gz" {attribute}>x</a>'), "text/html", url=URL).files
    assert (file.has_metadata, file.metadata_sha256) == (has_metadata, digest)


@pytest.mark.parametrize(
    ("href", "address"),
    [
        ("demo-1.tar.gz", "https://index.invalid/simple/demo/demo-1.tar.gz"),
        ("../../files/demo-1.tar.gz", "https://index.invalid/files/demo-1.tar.gz"),
        ("/files/demo-1.tar.gz", "https://index.invalid/files/demo-1.tar.gz"),
        ("//other.invalid/demo-1.tar.gz", "https://other.invalid/demo-1.tar.gz"),
        ("https://user:secret@other.invalid/demo-1.tar.gz", "https://other.invalid/demo-1.tar.gz"),
        ("demo-1.tar.gz?token=1#egg=demo", "https://index.invalid/simple/demo/demo-1.tar.gz?token=1"),
    ],
)
def test_addresses_are_absolute_and_without_credentials(href: str, address: str) -> None:
    (from_html,) = parse_page(html(f'<a href="{href}">demo</a>'), "text/html", url=URL).files
    (from_json,) = parse_page(page({"filename": "demo-1.tar.gz", "url": href}), JSON_TYPE, url=URL).files
    assert from_html.url == from_json.url == address
    assert from_html.filename == "demo-1.tar.gz"


def test_base_href() -> None:
    content = html('<a href="demo-1.tar.gz">x</a>', head='<base href="https://mirror.invalid/d/">')
    assert parse_page(content, "text/html", url=URL).files[0].url == "https://mirror.invalid/d/demo-1.tar.gz"


def test_a_base_cannot_turn_links_into_local_files() -> None:
    content = html('<a href="demo-1.tar.gz">x</a>', head='<base href="file:///etc/">')
    with pytest.raises(IndexAccessError, match="must not"):
        parse_page(content, "text/html", url=URL)


def test_a_name_in_the_text_serves_where_the_address_has_none() -> None:
    content = html(f'<a href="https://files.invalid/download?id=7#sha256={HASH}"> demo-1.0.tar.gz </a>')
    (file,) = parse_page(content, "text/html", url=URL).files
    assert (file.filename, file.url, file.sha256) == (
        "demo-1.0.tar.gz",
        "https://files.invalid/download?id=7",
        HASH,
    )


def test_json_fields() -> None:
    content = page(
        {
            "filename": "demo-1.0-py3-none-any.whl",
            "url": "https://files.invalid/demo-1.0-py3-none-any.whl",
            "hashes": {"sha256": HASH.upper(), "md5": "x"},
            "requires-python": ">=3.8",
            "size": 7,
            "upload-time": "2024-01-02T03:04:05.678Z",
            "yanked": "why",
            "core-metadata": {"sha256": HASH},
            "provenance": None,
        },
        versions=["1.0"],
    )
    parsed = parse_page(content, JSON_TYPE, url=URL)
    assert parsed.name == "demo"
    (file,) = parsed.files
    assert (file.sha256, file.size_bytes, file.yanked, file.metadata_sha256) == (HASH, 7, "why", HASH)
    assert (file.requires_python, file.upload_time) == (">=3.8", "2024-01-02T03:04:05.678Z")


@pytest.mark.parametrize(
    ("fields", "has_metadata", "digest"),
    [
        ({}, False, None),
        ({"core-metadata": True}, True, None),
        ({"core-metadata": False, "dist-info-metadata": True}, False, None),
        ({"dist-info-metadata": {"sha256": HASH}}, True, HASH),
        ({"data-dist-info-metadata": True}, True, None),
        ({"core-metadata": {"sha256": "junk"}}, True, None),
    ],
)
def test_json_metadata_advert(fields: dict[str, Any], has_metadata: bool, digest: str | None) -> None:
    content = page({"filename": "d-1.tar.gz", "url": "d-1.tar.gz", "hashes": {}, **fields})
    (file,) = parse_page(content, JSON_TYPE, url=URL).files
    assert (file.has_metadata, file.metadata_sha256) == (has_metadata, digest)


def test_files_that_are_neither_wheel_nor_sdist_are_left_out() -> None:
    content = html(
        *(f'<a href="{name}">{name}</a>' for name in ("d-1.exe", "d-1.egg", "d-1.tar.gz", "d-1.asc"))
    )
    assert [file.filename for file in parse_page(content, "text/html", url=URL).files] == ["d-1.tar.gz"]


@pytest.mark.parametrize(
    "href",
    [
        "file:///etc/demo-1.tar.gz",
        "FILE:///etc/demo-1.tar.gz",
        "ftp://files.invalid/demo-1.tar.gz",
        "javascript:demo-1.tar.gz",
        "http://files.invalid/demo-1.tar.gz",
        "https://[broken/demo-1.tar.gz",
        "https://files.invalid:port/demo-1.tar.gz",
    ],
)
def test_links_that_must_not_be_followed_are_left_out(href: str) -> None:
    good = '<a href="demo-2.tar.gz">x</a>'
    kept = parse_page(html(f'<a href="{href}">x</a>', good), "text/html", url=URL).files
    assert [file.filename for file in kept] == ["demo-2.tar.gz"]
    with pytest.raises(IndexAccessError) as raised:
        parse_page(html(f'<a href="{href}">x</a>'), "text/html", url=URL)
    assert raised.value.reference == "index-not-a-page"


@pytest.mark.parametrize(
    "filename", ["../demo-1.tar.gz", "..%2Fdemo-1.tar.gz", "a\\demo-1.tar.gz", "a\ndemo-1.whl"]
)
def test_names_with_tricks_are_left_out(filename: str) -> None:
    tricky = {"filename": filename.replace("%2F", "/"), "url": "https://files.invalid/x"}
    good = {"filename": "demo-2.tar.gz", "url": "demo-2.tar.gz"}
    assert [file.filename for file in parse_page(page(tricky, good), JSON_TYPE, url=URL).files] == [
        "demo-2.tar.gz"
    ]
    with pytest.raises(IndexAccessError):
        parse_page(page(tricky), JSON_TYPE, url=URL)


def test_an_encoded_slash_in_an_address_is_no_way_out() -> None:
    with pytest.raises(IndexAccessError, match="no plain file name"):
        parse_page(html('<a href="https://f.invalid/..%2F..%2Fdemo-1.tar.gz">x</a>'), "text/html", url=URL)


def test_an_unreadable_hash_is_not_no_hash() -> None:
    with pytest.raises(IndexAccessError, match="sha256"):
        parse_page(html('<a href="demo-1.tar.gz#sha256=abc">x</a>'), "text/html", url=URL)


@pytest.mark.parametrize(
    ("content", "content_type", "reference"),
    [
        (LOGIN_PAGE, "text/html", "index-login-page"),
        (b"<form action=/search></form>", "text/html", "index-not-a-page"),
        (b"<html><body>It works!</body></html>", "text/html", "index-not-a-page"),
        (b"", "text/html", "index-not-a-page"),
        (bytes(range(256)), "text/html", "index-not-a-page"),
        (bytes(range(256)), "application/octet-stream", "index-not-a-page"),
        (b"{}", "application/json", "index-not-a-page"),
        (b"[1, 2", JSON_TYPE, "index-not-a-page"),
        (b"[" * 100_000, JSON_TYPE, "index-not-a-page"),
        (b'{"files": [{"filename": 3}]}', JSON_TYPE, "index-not-a-page"),
        (page(meta={"api-version": "2.0"}), JSON_TYPE, "index-too-new"),
        (page(meta={"api-version": "x"}), JSON_TYPE, "index-not-a-page"),
        (html(head='<meta name="pypi:repository-version" content="2.0">'), "text/html", "index-too-new"),
        (b'<a href="a-1.0.tar.gz">a</a>' * (MAX_PAGE_FILES + 1), "text/html", "index-not-a-page"),
        (b'{"files": [' + b'{"filename": "a"},' * (MAX_PAGE_FILES + 1), JSON_TYPE, "index-not-a-page"),
    ],
)
def test_what_is_no_project_page_is_refused_by_name(
    content: bytes, content_type: str, reference: str
) -> None:
    with pytest.raises(IndexAccessError) as raised:
        parse_page(content, content_type, url=URL)
    assert raised.value.reference == reference


def test_a_page_at_a_login_address_is_a_login_page() -> None:
    with pytest.raises(IndexAccessError) as raised:
        parse_page(b"<p>Sign in</p>", "text/html", url="https://sso.invalid/login?next=/simple")
    assert raised.value.reference == "index-login-page"


@pytest.mark.parametrize(
    "content",
    [
        b"<title>Links for demo</title><h1>Links for demo</h1>",
        b'<meta name="pypi:repository-version" content="1.3">',
        b'<a href="demo-1.exe">demo-1.exe</a>',
    ],
)
def test_a_project_without_files_is_a_project(content: bytes) -> None:
    assert parse_page(content, "text/html", url=URL).files == ()


def test_empty_json_is_a_project() -> None:
    assert parse_page(page(), JSON_TYPE, url=URL).files == ()


@given(st.binary(max_size=400), st.sampled_from(["text/html", JSON_TYPE]))
def test_garbage_never_escapes_as_another_error(content: bytes, content_type: str) -> None:
    with contextlib.suppress(IndexAccessError):
        parse_page(content, content_type, url=URL)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_link_is_safe_or_left_out(href: str, text: str) -> None:
    quoted = href.replace("&", "&amp;").replace('"', "&quot;")
    content = html(f'<a href="{quoted}.whl">{text}</a>', '<a href="good-1.tar.gz">x</a>')
    for file in parse_page(content, "text/html", url=URL).files:
        assert file.url.startswith("https://")
        assert "/" not in file.filename and "\\" not in file.filename and "\x00" not in file.filename


def test_redacting() -> None:
    assert redact("https://user:pw@host/a?token=1#f") == "https://host/a"
    assert len(redact("https://host/" + "a" * 1000)) == 200


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["https://files.invalid/", "http://files.invalid/", "file:///", "https://u:p@x/", "../"]
            ),
            st.sampled_from(["a/", "", "a%2fb/", "a b/", "a?b/", "é/", "../"]),
            st.sampled_from(
                ["demo-1.0.tar.gz", "demo-1.0-py3-none-any.whl", ".demo-1.0.zip", "x/demo-1.zip", "demo"]
            ),
            st.sampled_from([HASH, HASH.upper(), "0" * 63, " " + HASH[1:], None]),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_looking_at_all_entries_at_once_is_looking_at_each(
    rows: list[tuple[str, str, str, str | None]],
) -> None:
    files = [
        {
            "filename": name,
            "url": host + folder + name,
            "hashes": {} if digest is None else {"sha256": digest},
        }
        for host, folder, name, digest in rows
    ]

    def read(content: bytes) -> Any:
        try:
            found = parse_page(content, JSON_TYPE, url=URL)
        except IndexAccessError as error:
            return error.message
        if found.places is not None:
            assert files_at(content, found.places) == list(found.entries)
        return found.name, found.files

    # A backslash anywhere on the page has every entry looked at by itself.
    assert read(page(*files)) == read(page(*files, note="\\"))

"""Core metadata: the header scan against `packaging.metadata`, repairs, and static projects."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.metadata import parse_email
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from pypm.codec.filenames import parse_version
from pypm.codec.metadata import (
    MetadataError,
    parse_legacy_requirement,
    parse_legacy_specifier,
    parse_metadata,
    static_metadata,
)

SAMPLE = b"""\
Metadata-Version: 2.2
Name: Demo.Pkg
Version: 1.0rc1
Summary: has: colons
Requires-Python: >=3.8
requires-dist: other>=2 ; extra == "fast"
Requires-Dist: plain
License: MIT
        Requires-Dist: not-a-header
Provides-Extra: Fast_Lane
Provides-Extra: fast-lane
Dynamic: Classifier

Requires-Dist: in-the-body
"""


def test_the_fields_of_a_sample() -> None:
    metadata = parse_metadata(SAMPLE)
    assert metadata.name == "demo-pkg"
    assert metadata.version == Version("1.0rc1")
    assert [str(requirement) for requirement in metadata.requires_dist] == [
        'other>=2; extra == "fast"',
        "plain",
    ]
    assert metadata.requires_python == SpecifierSet(">=3.8")
    assert metadata.provides_extra == ("fast-lane",)
    assert metadata.dynamic == {"classifier"}
    assert metadata.is_static


def test_crlf_and_a_byte_order_mark_make_no_difference() -> None:
    assert parse_metadata(b"\xef\xbb\xbf" + SAMPLE.replace(b"\n", b"\r\n")) == parse_metadata(SAMPLE)


def test_the_scan_finds_what_an_email_parser_finds() -> None:
    raw, _ = parse_email(SAMPLE)
    metadata = parse_metadata(SAMPLE)
    assert [text.split(";")[0].strip() for text in raw["requires_dist"]] == [
        str(requirement).split(";")[0] for requirement in metadata.requires_dist
    ]
    assert str(metadata.requires_python) == raw["requires_python"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Metadata-Version: 2.1\nName: x\n",
        b"Metadata-Version: 2.1\nVersion: 1\n",
        b"Metadata-Version: 2.1\nName: x\nName: y\nVersion: 1\n",
        b"Metadata-Version: 2.1\nName: x\nVersion: one\n",
        b"Metadata-Version: two\nName: x\nVersion: 1\n",
        b"Metadata-Version: 2.1\nName: x\nVersion: 1\nRequires-Dist: ???\n",
        b"Metadata-Version: 2.1\nName: x\nVersion: 1\nRequires-Python: snake\n",
        b"<!DOCTYPE html><html></html>",
        b"\x00\xff" * 100,
    ],
)
def test_what_is_no_metadata_is_refused(content: bytes) -> None:
    with pytest.raises(MetadataError):
        parse_metadata(content)


@given(st.binary(max_size=300))
def test_garbage_never_escapes_as_another_error(content: bytes) -> None:
    with contextlib.suppress(MetadataError):
        parse_metadata(b"Metadata-Version: 2.1\nName: x\nVersion: 1\n" + content)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a (>=1.0<2.0)", "a>=1.0,<2.0"),
        ("a (>=1.0 <2.0)", "a>=1.0,<2.0"),
        ("a (>=1.0.*)", "a>=1.0"),
        ("a>=1.0.*,<2.0.*", "a>=1.0,<2.0"),
        ("a~=1.2.*", "a~=1.2"),
        ("a!=~4.0", "a!=4.0.*"),
        ("a==1.2*", "a==1.2.*"),
        ("a>=*", "a>=0"),
        ("a>=1.0,", "a>=1.0"),
        ("a (>=1.0,)", "a>=1.0"),
        ("a>=1.0,,<2", "a>=1.0,<2"),
        ("a>='1.0'", "a>=1.0"),
        ('a (>=1.0") ; python_version < "3"', 'a>=1.0; python_version < "3"'),
        ("a>=1.0.,<2", "a>=1.0,<2"),
        ("a[x]>=1.0.*; extra == 'y'", 'a[x]>=1.0; extra == "y"'),
        ("a==1.0.*", "a==1.0.*"),
        ("a!=1.0.*", "a!=1.0.*"),
    ],
)
def test_legacy_requirements_are_repaired(written: str, meant: str) -> None:
    assert parse_legacy_requirement(written) == parse_legacy_requirement(meant)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (">=3.6.*", ">=3.6"),
        (">=2.7,!=3.0.*,!=3.1.*", ">=2.7,!=3.0.*,!=3.1.*"),
        (">=2.7,!=3.0*", ">=2.7,!=3.0.*"),
        (">=3.6'", ">=3.6"),
        (">=3.6,", ">=3.6"),
        (">=2.7 !=3.0.* <4", ">=2.7,!=3.0.*,<4"),
        ("", ""),
    ],
)
def test_legacy_python_specifiers_are_repaired(written: str, meant: str) -> None:
    assert parse_legacy_specifier(written) == SpecifierSet(meant)


@pytest.mark.parametrize(
    "text",
    [
        *("a=>1.0", "a>=", "a>=x", "a @", "-a", "a; marker", "a==1.0.*.2"),
        "a>" + "1" * 5000,
        "a; " + "(" * 4000 + "os_name == 'x'" + ")" * 4000,
        "a" + "<=1.1" * 10_000,
    ],
)
def test_what_has_no_sure_meaning_stays_an_error(text: str) -> None:
    with pytest.raises(MetadataError):
        parse_legacy_requirement(text)


def test_a_number_without_end_is_no_version() -> None:
    with pytest.raises(MetadataError):
        parse_legacy_specifier(">=3." + "1" * 5000)
    assert parse_version("1" * 5000) is None


PROJECT = b"""
[project]
name = "Demo"
version = "1.0"
requires-python = ">=3.9"
dependencies = ["a>=1; python_version < '3.11' or sys_platform == 'win32'"]
[project.optional-dependencies]
Fast_Lane = ["b", "c @ https://example.invalid/c.whl"]
"""


def test_a_static_project() -> None:
    metadata = static_metadata(PROJECT)
    assert metadata is not None
    assert (metadata.name, metadata.version) == ("demo", Version("1.0"))
    assert metadata.provides_extra == ("fast-lane",)
    assert [str(requirement.marker) for requirement in metadata.requires_dist] == [
        'python_version < "3.11" or sys_platform == "win32"',
        'extra == "fast-lane"',
        'extra == "fast-lane"',
    ]
    assert metadata.requires_dist[2].url == "https://example.invalid/c.whl"


def test_an_extra_binds_the_whole_marker() -> None:
    metadata = static_metadata(
        b"[project]\nname='x'\nversion='1'\n[project.optional-dependencies]\n"
        b"e=[\"a; sys_platform=='win32' or os_name=='nt'\"]\n"
    )
    assert metadata is not None
    marker = metadata.requires_dist[0].marker
    assert marker is not None
    assert not marker.evaluate({"sys_platform": "win32", "os_name": "nt", "extra": ""})
    assert marker.evaluate({"sys_platform": "win32", "os_name": "nt", "extra": "e"})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not toml [",
        b"\xff",
        b"[tool.poetry]\nname = 'x'\n",
        b"[project]\nname = 'x'\n",
        b"[project]\nname = 'x'\nversion = '1'\ndynamic = ['dependencies']\n",
        b"[project]\nname = 'x'\nversion = '1'\ndynamic = ['optional-dependencies']\n",
        b"[project]\nname = 'x'\nversion = '1'\ndynamic = ['requires-python']\n",
        b"[project]\nname = 'x'\ndynamic = ['version']\n",
        b"[project]\nname = 'x'\nversion = '1'\ndependencies = [1]\n",
        b"[project]\nname = 'x'\nversion = '1'\ndependencies = ['???']\n",
        b"[project]\nname = 'x'\nversion = '1'\noptional-dependencies = 3\n",
        b"project = 3\n",
    ],
)
def test_what_only_a_build_would_tell(content: bytes) -> None:
    assert static_metadata(content) is None


def test_a_dynamic_version_is_the_file_names() -> None:
    metadata = static_metadata(b"[project]\nname = 'x'\ndynamic = ['version']\n", version=Version("3"))
    assert metadata is not None
    assert metadata.version == Version("3")

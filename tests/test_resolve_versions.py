"""Versions as bits: the mask of a specifier is what `packaging` admits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from pypm.resolve.versions import ABSENT, VersionList

releases = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(
    lambda numbers: ".".join(map(str, numbers))
)
suffixes = st.sampled_from(["", "", "a1", "b2", "rc1", ".post1", ".post2", ".dev0", "a1.dev1", ".post1.dev0"])
public = st.tuples(releases, suffixes).map("".join)
versions = st.tuples(public, st.sampled_from(["", "", "", "+cpu", "+cu124"])).map("".join).map(Version)


@st.composite
def specifiers(draw: st.DrawFn) -> str:
    operator = draw(st.sampled_from([">=", "<=", ">", "<", "==", "!=", "~=", "=="]))
    version = draw(public)
    if operator == "~=":
        return f"~={draw(releases)}.{draw(st.integers(0, 2))}"
    if operator in ("==", "!=") and draw(st.booleans()):
        return f"{operator}{draw(releases)}.*"
    return f"{operator}{version}"


@given(st.sets(versions, max_size=12), st.lists(specifiers(), max_size=3))
@settings(max_examples=200, deadline=None)
def test_a_mask_admits_what_the_specifier_admits(known: set[Version], texts: list[str]) -> None:
    listed = VersionList(tuple(known))
    wanted = SpecifierSet(",".join(texts))
    mask = listed.mask(wanted)
    admitted = [listed.version(bit) for bit in listed.ascending(mask)]
    assert admitted == sorted(wanted.filter(known, prereleases=True))
    assert not mask & ABSENT


@given(st.sets(versions, max_size=12))
def test_every_version_has_its_own_bit(known: set[Version]) -> None:
    listed = VersionList(tuple(known))
    bits = [listed.bit(version) for version in sorted(known)]
    assert [listed.version(bit) for bit in bits] == sorted(known)
    assert sum(bits) | ABSENT == listed.full
    assert list(listed.descending(listed.all)) == bits[::-1]
    assert listed.bit(Version("99")) == 0


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (">=1", "a"),
        (">=2", "a>=2.0"),
        ("<2", "a<=1.5"),
        ("==1.5", "a==1.5"),
        (">=1.5,<3", "a>=1.5,<=2.0"),
        ("!=1.5,!=2.0", "a==1.0 or a==3.0"),
        (">9", "no a"),
    ],
)
def test_sets_of_versions_are_said_as_ranges(wanted: str, expected: str) -> None:
    listed = VersionList([Version(text) for text in ("3.0", "1.0", "2.0", "1.5")])
    assert listed.text("a", listed.mask(SpecifierSet(wanted))) == expected


def test_local_versions_belong_to_their_public_one() -> None:
    listed = VersionList([Version(text) for text in ("1.0", "1.0+cpu", "1.0+cu124", "1.0.post1", "1.1")])
    found = [str(listed.version(bit)) for bit in listed.ascending(listed.local_of(Version("1.0")))]
    assert found == ["1.0+cpu", "1.0+cu124"]


def test_arbitrary_equality_compares_text() -> None:
    listed = VersionList([Version("1.0"), Version("2.0")])
    assert listed.mask(SpecifierSet("===1.0")) == listed.bit(Version("1.0"))

"""File names: as strict as `packaging.utils`, by its own answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.tags import parse_tag
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from pypm.codec.filenames import (
    expand_tags,
    filename_of_url,
    is_safe_filename,
    parse_sdist_name,
    parse_version,
    parse_wheel_name,
    version_in_name,
    versions_in_names,
)

WHEELS = [
    "demo-1.0-py3-none-any.whl",
    "demo-1.0-1-py3-none-any.whl",
    "demo-1.0-1a-py3-none-any.whl",
    "demo-1.0-a1-py3-none-any.whl",
    "Demo.Pkg_x-1.0.post1+local.2-cp39.cp310-abi3.none-manylinux1_x86_64.manylinux2010_x86_64.whl",
    "de__mo-1.0-py3-none-any.whl",
    "de-mo-1.0-py3-none-any.whl",
    "demo-x.y-py3-none-any.whl",
    "demo-1.0-py3-none.whl",
    "demo-1.0-py3-none-.whl",
    "demo-1.0-py3..py2-none-any.whl",
    "demo-1.0-3py-none-any.whl",
    "-1.0-py3-none-any.whl",
    "démo-1.0-py3-none-any.whl",
    "demo-1.0-py3-none-any.zip",
    "demo-1!2.0rc1.dev3-py3-none-win_amd64.whl",
    ".whl",
    "----.whl",
    "",
]
SDISTS = [
    "demo-1.0.tar.gz",
    "demo-pkg-1.0.zip",
    "demo-1.0.tar.bz2",
    "demo.tar.gz",
    "-1.0.tar.gz",
    "demo-1.0-2.tar.gz",
    "demo-x.tar.gz",
    "Demo_Pkg.x-1.0rc1.tar.gz",
    "",
]


def same_as_packaging_wheel(filename: str) -> None:
    ours = parse_wheel_name(filename)
    try:
        name, version, build, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        assert ours is None
        return
    if ours is None:
        # Stricter only where the name could not stand in a folder or the version is padded.
        assert not is_safe_filename(filename) or any(part != part.strip() for part in filename.split("-"))
        return
    assert (ours.name, ours.version, ours.build) == (name, version, build)
    assert {str(tag) for tag in tags} == expand_tags(ours.tags)


@pytest.mark.parametrize("filename", WHEELS)
def test_wheel_names_agree_with_packaging(filename: str) -> None:
    same_as_packaging_wheel(filename)


@pytest.mark.parametrize("filename", SDISTS)
def test_sdist_names_agree_with_packaging(filename: str) -> None:
    ours = parse_sdist_name(filename)
    try:
        theirs = parse_sdist_filename(filename)
    except InvalidSdistFilename:
        assert ours is None
    else:
        assert ours is not None
        assert tuple(ours) == theirs


PARTS = st.text(alphabet="ab1.0_-+!é /\\\x00", max_size=8)


@given(st.lists(PARTS, min_size=3, max_size=7).map(lambda parts: "-".join(parts) + ".whl"))
def test_any_wheel_name_agrees_with_packaging(filename: str) -> None:
    same_as_packaging_wheel(filename)


@given(
    st.sampled_from(["a", "a_b", "A.b"]),
    st.sampled_from(["1", "1.0", "1!2.0rc1", "2.0.post1+x.y"]),
    st.sampled_from(["py3-none-any", "py2.py3-none-any", "cp39-cp39-linux_x86_64.manylinux1_x86_64"]),
)
def test_sound_wheel_names_are_accepted(name: str, version: str, tags: str) -> None:
    filename = f"{name}-{version}-{tags}.whl"
    parsed = parse_wheel_name(filename)
    assert parsed is not None
    assert parsed.tags == tags
    assert expand_tags(tags) == {str(tag) for tag in parse_tag(tags)}


@pytest.mark.parametrize(
    "filename",
    [
        "demo-1.0-py3-none-any/x.whl",
        "demo-1.0-py3-none-any\\x.whl",
        "demo-1.0-py3-none-any\x00.whl",
        "demo-1.0-1/../x-py3-none-any.whl",
        "demo-1.0-py3-none-" + "a" * 300 + ".whl",
        "demo-1.0-" + ".".join(f"p{i}" for i in range(9)) * 20 + "-none-any.whl",
        "demo-1.0-" + "1" * 40 + "-py3-none-any.whl",
    ],
)
def test_names_that_are_no_plain_file_names_are_refused(filename: str) -> None:
    assert parse_wheel_name(filename) is None


def test_a_tag_set_that_explodes_is_refused() -> None:
    interpreters = ".".join(f"p{number}" for number in range(20))
    others = ".".join(f"x{number}" for number in range(20))
    assert parse_wheel_name(f"d-1-{interpreters}-{others}-{others}.whl") is None


def test_sdist_names_with_separators_are_refused() -> None:
    assert parse_sdist_name("../demo-1.0.tar.gz") is None
    assert parse_sdist_name("a\\demo-1.0.tar.gz") is None


def test_versions_are_remembered() -> None:
    assert parse_version("1.0") is parse_version("1.0")
    assert parse_version(" 1.0") is None
    assert parse_version("one") is None


@pytest.mark.parametrize(
    ("url", "filename"),
    [
        ("https://host/a/b-1.tar.gz#sha256=00", "b-1.tar.gz"),
        ("https://host/a/b%2B1.whl?x=/y", "b+1.whl"),
        ("https://host/a/..%2F..%2Fb.whl", "../../b.whl"),
        ("https://host/a/", ""),
    ],
)
def test_the_file_name_of_a_url(url: str, filename: str) -> None:
    assert filename_of_url(url) == filename


@pytest.mark.parametrize("filename", ["", ".", "..", "a/b", "a\\b", "a\nb", "a\x7fb", "é" * 200, "\u202eexe"])
def test_unsafe_names(filename: str) -> None:
    assert not is_safe_filename(filename)


@given(
    st.lists(
        st.builds(
            "".join,
            st.tuples(
                st.sampled_from(["a-b", "a_b", "A.b", "a__b", "other", ""]),
                st.sampled_from(["-1.0", "-2.0", "-2.0-1", "-x", "-1.0+a", ""]),
                st.sampled_from(
                    ["-py3-none-any.whl", "-cp312-cp312-win_amd64.whl", "-py3-none.whl", ".tar.gz", ".zip"]
                ),
            ),
        ),
        max_size=12,
    )
)
def test_the_names_of_a_page_are_judged_together_as_one_by_one(filenames: list[str]) -> None:
    project = canonicalize_name("a-b")
    assert versions_in_names(filenames, project) == [version_in_name(name, project) for name in filenames]

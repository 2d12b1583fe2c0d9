"""Comparing folders: exactly what was done to one is what is found."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pypm.digest import sha256_hex
from pypm.errors import StorageError
from pypm.model.verification import Difference, ExpectedFile
from pypm.workflow.inspection import Hashes, compare_folder

NAMES = st.sampled_from([f"{folder}{name}" for folder in ("", "a/", "a/b/", "c/") for name in "xyz"])


def described(files: dict[str, bytes], owner: str = "pkg") -> dict[str, ExpectedFile]:
    return {
        path: ExpectedFile(owner, sha256_hex(content), len(content), 0o644) for path, content in files.items()
    }


def write(folder: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(0o644)


def found(folder: Path, expected: dict[str, ExpectedFile], **options: bool) -> list[tuple[str, str]]:
    differences = compare_folder(str(folder), expected, Hashes(threads=2), **options)
    return [(one.what, one.path) for one in differences]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(NAMES, st.binary(max_size=40), max_size=8),
    st.dictionaries(NAMES, st.binary(max_size=40), max_size=8),
)
def test_the_differences_are_those_of_the_contents(
    expected: dict[str, bytes], present: dict[str, bytes]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), present)
        wanted = {("added", path) for path in present.keys() - expected.keys()}
        wanted |= {("missing", path) for path in expected.keys() - present.keys()}
        wanted |= {
            ("changed", path) for path in expected.keys() & present.keys() if expected[path] != present[path]
        }
        differences = found(Path(name), described(expected))
        assert set(differences) == wanted
        assert [path for _, path in differences] == sorted(path for _, path in differences)


def test_kind_mode_and_target_matter(tmp_path: Path) -> None:
    write(tmp_path, {"file": b"1", "mode": b"1", "link": b"1", "folder": b"1"})
    expected = described({"file": b"1", "mode": b"1", "link": b"1", "folder": b"1"})
    expected["points"] = ExpectedFile("", "", target="file")
    (tmp_path / "points").symlink_to("mode")
    (tmp_path / "mode").chmod(0o4755)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").unlink()
    (tmp_path / "folder").mkdir()
    assert found(tmp_path, expected) == [
        ("missing", "folder"),
        ("changed", "link"),
        ("changed", "mode"),
        ("changed", "points"),
    ]
    assert found(tmp_path, expected, empty_folders=False)[:2] == [("missing", "folder"), ("added", "folder/")]


def test_hard_links_are_read_once_and_judged_each(tmp_path: Path) -> None:
    write(tmp_path, {"store/x": b"bad", "store/y": b"fine"})
    (tmp_path / "env").mkdir()
    for name in "xy":
        os.link(tmp_path / "store" / name, tmp_path / "env" / name)
    hashes = Hashes()
    expected = described({"x": b"god", "y": b"fine"})
    for folder in ("store", "env"):
        (one,) = compare_folder(str(tmp_path / folder), expected, hashes)
        assert one == Difference(what="changed", package="pkg", path="x")
    assert (hashes.read_files, hashes.read_bytes) == (2, 7)


def test_an_added_file_is_told_with_the_package_beside_it(tmp_path: Path) -> None:
    expected = described({"lib/one/a": b"", "lib/one/deep/b": b""}, "one") | described(
        {"lib/two/c": b""}, "two"
    )
    write(tmp_path, dict.fromkeys(expected, b""))
    write(tmp_path, dict.fromkeys(["lib/one/deep/er/x", "lib/two/x", "lib/x", "x"], b""))
    differences = compare_folder(str(tmp_path), expected, Hashes())
    assert [(one.package, one.path) for one in differences] == [
        ("one", "lib/one/deep/er/x"),
        ("two", "lib/two/x"),
        ("", "lib/x"),
        ("", "x"),
    ]


def test_a_large_file_is_read_to_its_end(tmp_path: Path) -> None:
    content = bytes(range(256)) * 12_000
    write(tmp_path, {"large": content})
    assert found(tmp_path, described({"large": content})) == []
    assert found(tmp_path, described({"large": content[:-1] + b"\0"})) == [("changed", "large")]


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        compare_folder(str(tmp_path / "nothing"), {}, Hashes())

"""A source tree is copied as it is, while somebody exchanges what lies in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pypm.build import tree
from pypm.build.project import tree_place
from pypm.build.tree import copied_files, copy_tree, take_compiled
from pypm.errors import ConfigurationError, StorageError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "package" / "deep").mkdir(parents=True)
    (source / "package" / "deep" / "module.py").write_text("x = 1")
    (source / "package" / "a.py").write_text("a")
    (source / "link").symlink_to("package")
    (source / ".venv").mkdir()
    (source / "cache").mkdir()
    (source / "cache" / "CACHEDIR.TAG").touch()
    os.mkfifo(source / "pipe")
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "secret").write_text("hunter2")
    (outside / "deep" / "secret").write_text("hunter2")
    return source


def allow(_: Path, __: tuple[Path, ...]) -> None:
    """Everything may be written."""


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_files_links_modes_and_times_are_copied(source: Path, tmp_path: Path) -> None:
    module = source / "package" / "deep" / "module.py"
    module.chmod(0o741)
    os.utime(module, ns=(5_000_000_007, 6_000_000_008))
    copy_tree(source, tmp_path / "copy")
    assert names(tmp_path / "copy") == [
        *("link", "package", "package/a.py", "package/deep", "package/deep/module.py"),
    ]
    copied = tmp_path / "copy" / "package" / "deep" / "module.py"
    assert copied.stat().st_mode == module.stat().st_mode
    assert copied.stat().st_mtime_ns == 6_000_000_008
    assert (tmp_path / "copy" / "link").readlink() == Path("package")
    assert list(copied_files(source)) == ["package/a.py", "package/deep/module.py"]


@pytest.mark.parametrize("exchanged", ["package", "package/deep"])
def test_a_folder_that_becomes_a_link_leads_nowhere(
    source: Path, tmp_path: Path, exchanged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment in which a folder was seen and is not yet opened."""
    opened = tree._opened

    def late(place: Path, below: str) -> object:
        if below == f"{exchanged}/" and not (source / exchanged).is_symlink():
            (source / exchanged).rename(source / "away")
            (source / exchanged).symlink_to(tmp_path / "outside")
        return opened(place, below)

    monkeypatch.setattr(tree, "_opened", late)
    copy_tree(source, tmp_path / "copy")
    assert (source / exchanged).is_symlink()
    assert not [name for name in names(tmp_path / "copy") if "secret" in name]


@pytest.mark.parametrize("kind", ["link", "pipe", "gone"])
def test_a_file_that_becomes_something_else_is_left_out(
    source: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_file = tree._copy_file

    def late(entry: tree._Entry, place: Path) -> None:
        path = source / entry.path
        if path.name == "a.py":
            path.unlink()
            if kind == "link":
                path.symlink_to(tmp_path / "outside" / "secret")
            elif kind == "pipe":
                os.mkfifo(path)
        copy_file(entry, place)

    monkeypatch.setattr(tree, "_copy_file", late)
    copy_tree(source, tmp_path / "copy")
    assert "package/a.py" not in names(tmp_path / "copy")
    assert "package/deep/module.py" in names(tmp_path / "copy")


def test_compiled_modules_come_back_and_nothing_else(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy_tree(source, copy)
    for name in ("package/new.so", "package/deep/kept.so", "build/x.so", "other/lost.so", "package/a.txt"):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text("compiled")
    (source / "package" / "deep" / "kept.so").write_text("compiled")
    assert take_compiled(copy, source, allow) == (source / "package" / "new.so",)
    assert (source / "package" / "new.so").read_text() == "compiled"
    assert (source / "package" / "new.so").stat().st_mode & 0o100
    assert not [name for name in names(source) if name.endswith(".tmp")]


def test_nothing_is_written_before_it_is_allowed(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy_tree(source, copy)
    for name in ("new.so", "package/new.so", "package/kept.so"):
        (copy / name).write_text("compiled")
    (source / "package" / "kept.so").write_text("compiled")
    before = names(source)
    asked: list[tuple[Path, tuple[Path, ...]]] = []

    def refuse(root: Path, modules: tuple[Path, ...]) -> None:
        asked.append((root, modules))
        raise ConfigurationError("no", reference="no")

    with pytest.raises(ConfigurationError):
        take_compiled(copy, source, refuse)
    assert asked == [(source, (source / "new.so", source / "package" / "new.so"))]
    assert names(source) == before
    # What the tree has already is not written, so nobody is asked.
    take_compiled(copy, source, allow)
    assert take_compiled(copy, source, refuse) == ()


def test_compiled_modules_pass_no_link(source: Path, tmp_path: Path) -> None:
    copy, outside = tmp_path / "copy", tmp_path / "outside"
    copy_tree(source, copy)
    for name in ("package/deep/x.so", "package/y.so"):
        (copy / name).write_text("compiled")
    (source / "package" / "deep").rename(source / "away")
    (source / "package" / "deep").symlink_to(outside)
    (source / "package" / "y.so").symlink_to(outside / "secret")
    assert take_compiled(copy, source, allow) == ()
    assert names(outside) == ["deep", "deep/secret", "secret"]
    assert (outside / "secret").read_text() == "hunter2"


@pytest.mark.parametrize("exchanged", ["", "source"])
def test_the_tree_itself_or_a_folder_above_it_may_become_a_link(tmp_path: Path, exchanged: str) -> None:
    """Between the look at what is built and the copy of it, a run may exchange any folder of its project."""
    root = tmp_path / "libs" / "source"
    (root / "package").mkdir(parents=True)
    (root / "package" / "a.py").write_text("a")
    copy_tree(root, tmp_path / "copy")
    (tmp_path / "copy" / "package" / "x.so").write_text("compiled")
    outside = tmp_path / "outside"
    (outside / "source" / "package").mkdir(parents=True)
    (outside / "source" / "secret").write_text("hunter2")
    place = tmp_path / "libs" / exchanged
    place.rename(tmp_path / "away")
    place.symlink_to(outside / exchanged)
    with pytest.raises(StorageError, match="copy the source tree"):
        copy_tree(root, tmp_path / "second")
    with pytest.raises(StorageError):
        list(copied_files(root))
    with pytest.raises(StorageError):
        take_compiled(tmp_path / "copy", root, allow)
    assert names(outside) == ["source", "source/package", "source/secret"]


def test_a_dependency_in_the_project_does_not_lead_out_of_it(tmp_path: Path) -> None:
    project, other = tmp_path / "project", tmp_path / "other"
    for folder in (project / "libs" / "own", other):
        folder.mkdir(parents=True)
    (project / "libs" / "linked").symlink_to(other)
    (project / "libs" / "alias").symlink_to("own")
    assert tree_place(project, "libs/own") == tree_place(project, "libs/alias") == project / "libs" / "own"
    assert tree_place(project, "../other") == tree_place(project, str(other)) == other
    for path in ("libs/linked", "libs/../libs/linked", str(project / "libs" / "linked")):
        with pytest.raises(ConfigurationError, match="outside of it"):
            tree_place(project, path)

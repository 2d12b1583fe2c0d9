"""Programs that run outside: from absolute folders of `PATH`, and never from a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypm.programs import find_program, folders_on_path, is_inside


def program(folder: Path, name: str = "git") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_first_program_outside_of_the_project_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    program(project)
    program(project / "bin")
    (tmp_path / "link").symlink_to(project / "bin")
    (tmp_path / "leads-in").mkdir()
    (tmp_path / "leads-in" / "git").symlink_to(project / "bin" / "git")
    (tmp_path / "folder" / "git").mkdir(parents=True)
    plain = program(tmp_path / "plain")
    plain.chmod(0o644)
    right = program(tmp_path / "right")
    folders = ["", ".", "bin", project / "bin", tmp_path / "link", tmp_path / "leads-in"]
    folders += [tmp_path / "nothing", tmp_path / "folder", tmp_path / "plain", tmp_path / "right"]
    monkeypatch.chdir(project)
    monkeypatch.setenv("PATH", ":".join(map(str, folders)))
    assert find_program("git", project) == str(right)
    assert find_program("git", None) == str(project / "bin" / "git")
    assert find_program("no-such-program", project) is None
    assert not any(folder.startswith(str(project)) for folder in folders_on_path(project))
    assert all(Path(folder).is_absolute() for folder in folders_on_path(None))


def test_a_folder_with_a_longer_name_is_not_inside(tmp_path: Path) -> None:
    assert is_inside(tmp_path / "a" / "b", tmp_path / "a")
    assert is_inside(tmp_path / "a", tmp_path / "a")
    assert is_inside(tmp_path / "a", "/")
    assert not is_inside(tmp_path / "ab", tmp_path / "a")
    assert not is_inside(tmp_path, None)

"""Members of a workspace are editable path dependencies of each other."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from pypm.codec.pyproject import parse_project
from pypm.errors import ConfigurationError
from pypm.model.project import PathSource, Project
from pypm.workflow.workspace import with_members

SOURCES = "[tool.pypm.sources]\nb = { workspace = true, marker = \"sys_platform == 'linux'\" }\n"


def write(folder: Path, name: str, more: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "1"\n{more}')
    return folder


def load(folder: Path) -> Project:
    return with_members(parse_project((folder / "pyproject.toml").read_bytes(), root=folder))


def paths(project: Project) -> dict[str, str]:
    sources = {name: source for name, (source,) in project.sources.items()}
    assert all(isinstance(source, PathSource) and source.editable for source in sources.values())
    return {name: source.path for name, source in sources.items() if isinstance(source, PathSource)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    workspace = '[tool.pypm.workspace]\nmembers = ["packages/*"]\nexclude = ["packages/old"]\n'
    folder = write(tmp_path / "root", "root", workspace + SOURCES)
    write(folder / "packages" / "a", "a", SOURCES)
    write(folder / "packages" / "b", "B")
    write(folder / "packages" / "old", "old")
    (folder / "packages" / "notes").mkdir()
    return folder


def test_members_are_paths(root: Path) -> None:
    project = load(root)
    assert paths(project) == {"a": "packages/a", "b": "packages/b"}
    (source,) = project.sources[canonicalize_name("b")]
    assert str(source.marker) == 'sys_platform == "linux"'


def test_a_member_finds_the_others(root: Path) -> None:
    assert paths(load(root / "packages" / "a")) == {"root": "../..", "b": "../b"}


def test_who_asks_for_nothing_reads_nothing(root: Path) -> None:
    project = parse_project(
        (root / "packages" / "b" / "pyproject.toml").read_bytes(), root=root / "packages" / "b"
    )
    assert with_members(project) is project


@pytest.mark.parametrize(
    ("workspace", "said"),
    [
        ('members = ["packages/a"]', "no such member"),
        ('members = ["packages/c"]', "does not exist"),
        ('members = ["../elsewhere"]', "below the project"),
        ('members = "packages/*"', "list of patterns"),
        ('member = ["packages/*"]', "did you mean `members`"),
    ],
)
def test_what_is_wrong_is_said(root: Path, workspace: str, said: str) -> None:
    write(root, "root", f"[tool.pypm.workspace]\n{workspace}\n{SOURCES}")
    with pytest.raises(ConfigurationError, match=said):
        load(root)


def test_two_of_one_name(root: Path) -> None:
    write(root / "packages" / "c", "b")
    with pytest.raises(ConfigurationError, match="both called `b`"):
        load(root)


@pytest.mark.parametrize("pattern", ["a**b", "", "../*", "/tmp/*", "a/../b"])
def test_a_pattern_that_is_none_of_folders_below(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[tool.pypm.workspace]\nmembers = ["{pattern}"]\n')
    project = parse_project((tmp_path / "pyproject.toml").read_bytes(), root=tmp_path)
    with pytest.raises(ConfigurationError, match="patterns of folders below"):
        with_members(project)

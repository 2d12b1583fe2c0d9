"""Projects of poetry, pdm and uv in our words: nothing changes its meaning, nothing is lost silently."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from pypm.cli.app import main
from pypm.codec.foreign import Translation, translate
from pypm.codec.poetry import specifiers
from pypm.codec.pyproject import parse_project
from pypm.model.project import IndexSource, PathSource, Project, VcsSource

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.mark.parametrize(
    ("poetry", "standard"),
    [
        ("^1.2.3", ">=1.2.3,<2"),
        ("^1.2", ">=1.2,<2"),
        ("^0.2.3", ">=0.2.3,<0.3"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0.0", ">=0.0,<0.1"),
        ("^0", ">=0,<1"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1.2", ">=1.2,<1.3"),
        ("~1", ">=1,<2"),
        ("*", ""),
        ("1.2.*", "==1.2.*"),
        ("1.2.3", "==1.2.3"),
        ("=1.2", "==1.2"),
        (">=1.2, <2", ">=1.2,<2"),
        (">= 1.2 <2 !=1.5", ">=1.2,<2,!=1.5"),
        ("~=1.2.3", "~=1.2.3"),
        ("^1.0b2", ">=1.0b2,<2"),
    ],
)
def test_versions_of_poetry(poetry: str, standard: str) -> None:
    assert SpecifierSet(specifiers(poetry)) == SpecifierSet(standard)


@pytest.mark.parametrize("text", ["^1 || ^2", "nonsense", "^x"])
def test_what_has_no_equivalent_is_no_answer(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        specifiers(text)


def translated(text: str) -> tuple[Translation, Project, dict[str, Any]]:
    translation = translate(text.encode(), file_name="pyproject.toml")
    assert translation is not None
    project = parse_project(translation.text.encode(), root=Path("/nowhere"))
    return translation, project, tomllib.loads(translation.text)


POETRY = """\
# The team's project.
[tool.poetry]
name = "Thing"
version = "1.2"
description = "A thing"
authors = ["A <a@b.test>"]

[tool.poetry.dependencies]
python = "^3.10"
requests = {version = "^2.30", extras = ["socks"]}
numpy = [{version = "<2", python = "<3.12"}, {version = ">=2", python = ">=3.12"}]
psycopg = {version = "*", optional = true}
near = {path = "../near", develop = true}
tool = {git = "https://host.test/tool.git", rev = "0f3c"}
corp = {version = "1.*", source = "corp"}
either = "^1 || ^2"

[tool.poetry.extras]
db = ["psycopg"]

[tool.poetry.group.dev.dependencies]
pytest = ">=8"

[tool.poetry.group.docs]
optional = true
[tool.poetry.group.docs.dependencies]
sphinx = "~7.2"

[[tool.poetry.source]]
name = "corp"
url = "https://me:secret@packages.test/simple"
priority = "explicit"
"""


def test_poetry() -> None:
    translation, project, values = translated(POETRY)
    assert (translation.tool, project.name, project.version) == ("poetry", "thing", "1.2")
    assert project.requires_python == SpecifierSet(">=3.10,<4")
    assert {str(one) for one in project.dependencies} == {
        "requests[socks]<3,>=2.30",
        'numpy<2; python_version < "3.12"',
        'numpy>=2; python_version >= "3.12"',
        "near",
        "tool",
        "corp==1.*",
        "either",
    }
    assert {name: [str(one) for one in extra] for name, extra in project.extras.items()} == {
        "db": ["psycopg"]
    }
    assert [str(one) for one in project.groups["docs"]] == ["sphinx<7.3,>=7.2"]
    assert project.default_groups == ("dev",)
    assert isinstance(project.sources["near"][0], PathSource)
    assert project.sources["near"][0].editable
    assert isinstance(project.sources["tool"][0], VcsSource)
    assert isinstance(project.sources["corp"][0], IndexSource)
    assert (project.indexes[0].name, project.indexes[0].explicit) == ("corp", True)
    assert "secret" not in str(values["tool"]["pypm"])
    assert values["tool"]["poetry"]["authors"] == ["A <a@b.test>"]
    assert translation.text.startswith("# The team's project.\n[tool.poetry]\n")
    said = "\n".join(translation.notes)
    for lost in ("`either = ", "tool.poetry.authors", "credentials of index `corp`"):
        assert lost in said


def test_pdm() -> None:
    translation, project, _ = translated(
        '[project]\nname = "p"\nversion = "1"\ndependencies = ["a"]\n'
        "[tool.pdm]\ndistribution = true\n"
        '[tool.pdm.dev-dependencies]\ntest = ["pytest", "-e file:///${PROJECT_ROOT}/sub#egg=sub"]\n'
        '[[tool.pdm.source]]\nname = "pypi"\nurl = "https://mirror.test/simple"\nverify_ssl = false\n'
        '[tool.pdm.resolution.overrides]\nb = "1.0"\nc = ">=2"\n'
    )
    assert {str(one) for one in project.groups["test"]} == {"pytest", "sub"}
    assert project.default_groups == ("test",)
    assert project.sources["sub"][0] == PathSource(path="sub", editable=True)
    assert [index.url for index in project.indexes] == ["https://mirror.test/simple"]
    assert {str(one) for one in project.settings.overrides} == {"b==1.0", "c>=2"}
    said = "\n".join(translation.notes)
    assert "tool.pdm.distribution" in said
    assert "verify_ssl" in said


def test_uv() -> None:
    translation, project, _ = translated(
        '[project]\nname = "p"\nversion = "1"\ndependencies = ["torch"]\n'
        '[tool.uv]\ndev-dependencies = ["pytest"]\nconstraint-dependencies = ["x<2"]\n'
        'override-dependencies = ["y==1"]\nprerelease = "if-necessary-or-explicit"\nlink-mode = "copy"\n'
        '[tool.uv.sources]\ntorch = { index = "cpu" }\n'
        '[[tool.uv.index]]\nname = "cpu"\nurl = "https://wheels.test/cpu"\nexplicit = true\n'
    )
    assert [str(one) for one in project.groups["dev"]] == ["pytest"]
    assert [str(one) for one in project.settings.constraints] == ["x<2"]
    assert [str(one) for one in project.settings.overrides] == ["y==1"]
    assert project.settings.prerelease == "if-necessary"
    assert project.sources["torch"] == (IndexSource(index="cpu"),)
    assert project.indexes[0].explicit
    assert translation.notes == ("`tool.uv.link-mode` has no equivalent and stays as it is",)


def test_a_standard_project_needs_no_translation() -> None:
    assert translate(b'[project]\nname = "p"\nversion = "1"\n', file_name="pyproject.toml") is None


def test_init_takes_over_what_it_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYPM_CACHE_DIR", str(tmp_path / "cache"))
    old = tmp_path / "old"
    old.mkdir()
    monkeypatch.chdir(old)
    assert main(["init", "--from", "auto"]) == 2
    (old / "requirements.txt").write_text("a>=1\n--trusted-host x\n")
    assert main(["init", "--from", "auto", "../new"]) == 2
    assert main(["init", "--from", "requirements.txt", "../new"]) == 0
    assert "`--trusted-host` was left out" in capsys.readouterr().err
    (old / "pyproject.toml").write_text(POETRY)
    assert main(["init", "--from", "auto"]) == 0
    assert "warning: `either = " in capsys.readouterr().err
    assert parse_project((old / "pyproject.toml").read_bytes(), root=old).name == "thing"
    assert main(["init", "--from", "auto"]) == 1, "it speaks to pypm already"

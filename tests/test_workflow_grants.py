"""What a project may grant itself, and when nobody asked it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypm.errors import ConfigurationError
from pypm.workflow.context import Context
from pypm.workflow.grants import run_options
from pypm.workflow.report import SilentReporter
from pypm.workflow.settings import Overrides, load_settings

PROJECT = '[project]\nname = "{name}"\nversion = "0"\nrequires-python = ">=3.10"\n'
GRANT = '[tool.pypm.sandbox.run]\nallow-env = ["TOKEN"]\n'


def project(folder: Path, *, grant: bool) -> Path:
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT.format(name=folder.name) + GRANT * grant, encoding="utf-8")
    return folder


def options_of(folder: Path, monkeypatch: pytest.MonkeyPatch, *, named: bool = False):
    monkeypatch.chdir(folder)
    settings = load_settings(
        Overrides(project=folder if named else None), {"HOME": str(folder.parent.parent)}
    )
    with Context(settings, SilentReporter()) as context:
        return run_options(context, "run", {})


def test_a_project_grants_itself_what_its_author_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = project(tmp_path / "alone", grant=True)
    assert options_of(alone, monkeypatch).allow_env == ("TOKEN",)


def test_grants_of_a_project_inside_another_count_only_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = project(tmp_path / "outer", grant=False)
    planted = project(outer / "src" / "planted", grant=True)
    with pytest.raises(ConfigurationError) as raised:
        options_of(planted, monkeypatch)
    assert raised.value.reference == "nested-grants"
    assert raised.value.details == ("the variable `TOKEN`",)
    assert options_of(planted, monkeypatch, named=True).allow_env == ("TOKEN",)


def test_a_project_inside_another_that_asks_for_nothing_is_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = project(tmp_path / "outer", grant=True)
    assert options_of(project(outer / "sub", grant=False), monkeypatch).allow_env == ()

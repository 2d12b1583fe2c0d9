"""Flags that steer resolution reach the project's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pypm.errors import UsageError
from pypm.model.project import Project
from pypm.workflow.context import Context
from pypm.workflow.report import SilentReporter
from pypm.workflow.settings import Overrides, load_settings

PROJECT = """\
[project]
name = "p"
version = "1"
[tool.pypm]
no-build-package = ["z"]
"""


def project_with(folder: Path, **flags: Any) -> Project:
    (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    settings = load_settings(Overrides(project=folder, no_config=True, **flags), {})
    with Context(settings, SilentReporter()) as context:
        return context.project


def test_builds_and_wheels_can_be_left_out_by_name_or_at_all(tmp_path: Path) -> None:
    settings = project_with(tmp_path, no_build=("A.b", "c"), no_binary=("*", "d")).settings
    assert (settings.no_build, settings.no_build_package) == (False, ("z", "a-b", "c"))
    assert (settings.no_binary, settings.no_binary_package) == (True, ("d",))


def test_without_flags_the_project_decides(tmp_path: Path) -> None:
    settings = project_with(tmp_path).settings
    assert (settings.no_build, settings.no_build_package) == (False, ("z",))
    assert (settings.no_binary, settings.no_binary_package) == (False, ())


def test_a_word_that_names_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--no-binary a b"):
        project_with(tmp_path, no_binary=("a b",))

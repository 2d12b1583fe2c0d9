"""A project with a folder for plugins, and compiled ones in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.bench import Scene, compiled


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugins of this folder's C files, compiled once."""
    folder = tmp_path_factory.mktemp("library")
    for name in ("polite", "misbehaving"):
        compiled(name, folder)
    return folder


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where descriptors are remembered, for all tests."""
    return tmp_path_factory.mktemp("descriptors")


@pytest.fixture
def scene(tmp_path: Path, library: Path, kept: Path) -> Scene:
    """A project whose descriptors are remembered, so that a test starts one host only."""
    root, scratch = tmp_path / "project", tmp_path / "scratch"
    root.mkdir()
    scratch.mkdir()
    (root / "pypm.lock").write_text("locked\n")
    return Scene(root=root, folder=library, scratch=scratch, kept=kept)


@pytest.fixture
def workshop(tmp_path: Path) -> Scene:
    """A project with an empty folder for plugins, and nothing remembered."""
    for name in ("project", "plugins", "scratch"):
        (tmp_path / name).mkdir()
    return Scene(root=tmp_path / "project", folder=tmp_path / "plugins", scratch=tmp_path / "scratch")

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pypm import paths


def test_a_home_that_is_told_from_where_one_stands_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "home")
    monkeypatch.setenv("USERPROFILE", "home")
    assert paths.cache_home(os.environ | {"XDG_CACHE_HOME": ""}).is_relative_to(tmp_path / "home")


def test_the_cache_folder_is_chosen_by_variable_then_by_xdg_then_by_home(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    xdg = {**home, "XDG_CACHE_HOME": str(tmp_path / "xdg")}
    assert paths.cache_home(xdg) == tmp_path / "xdg" / "pypm"
    assert paths.cache_home({**xdg, "PYPM_CACHE_DIR": str(tmp_path / "mine")}) == tmp_path / "mine"
    if sys.platform == "linux":
        assert paths.cache_home(home) == tmp_path / ".cache" / "pypm"


def test_relative_xdg_folders_are_ignored_and_a_relative_choice_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    assert paths.cache_home({**home, "XDG_CACHE_HOME": "here"}) == paths.cache_home(home)
    assert paths.cache_home({**home, "PYPM_CACHE_DIR": "here"}) == tmp_path / "here"
    assert paths.cache_home({**home, "PYPM_CACHE_DIR": ""}) == paths.cache_home(home)


def test_the_project_is_the_nearest_folder_upward(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "a" / "pyproject.toml").touch()
    (tmp_path / "pyproject.toml").touch()
    assert paths.find_project_root(inner) == tmp_path / "a"
    assert paths.find_project_root(tmp_path) == tmp_path
    (inner / "pyproject.toml").mkdir()
    assert paths.find_project_root(inner) == tmp_path / "a", "a folder of that name is not a project file"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")
def test_a_project_that_another_user_put_above_is_foreign(tmp_path: Path) -> None:
    file, inner = tmp_path / "pyproject.toml", tmp_path / "inner"
    inner.mkdir()
    file.touch()
    assert not paths.is_foreign(str(tmp_path), str(inner))
    os.chown(file, 12345, 12345)
    assert paths.is_foreign(str(tmp_path), str(inner))
    assert paths.is_foreign(str(tmp_path), str(tmp_path)), "a folder of root's that everybody may write to"
    os.chown(inner, 12345, 12345)
    assert not paths.is_foreign(str(tmp_path), str(inner)), "who works in that user's folder means to"
    os.chown(inner, 0, 0)
    file.rename(tmp_path / "away")
    file.symlink_to("away")
    os.chown(tmp_path / "away", 0, 0)
    os.chown(file, 12345, 12345, follow_symlinks=False)
    assert paths.is_foreign(str(tmp_path), str(inner)), "a link to a good project"


def test_no_project_is_none() -> None:
    assert paths.project_folder("/") is None


def test_configuration_files(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "conf")}
    assert paths.user_configuration_file(environ) == tmp_path / "conf" / "pypm" / "pypm.toml"
    assert paths.system_configuration_file({}).name == "pypm.toml"


def test_the_caches_folders_are_distinct_and_below_the_root(tmp_path: Path) -> None:
    cache = paths.Cache(tmp_path)
    folders = [
        cache.wheels,
        cache.store,
        cache.index,
        cache.builds,
        cache.plans,
        cache.interpreters,
        cache.scratch,
    ]
    assert len(set(folders)) == len(folders)
    assert {folder.parent for folder in folders} == {tmp_path}
    assert cache == paths.Cache(tmp_path)
    assert hash(cache) == hash(paths.Cache(tmp_path))


def test_the_module_costs_the_fast_path_nothing() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(Path(paths.__file__).parents[1])!r})\n"
        "import os; before = set(sys.modules); import pypm.paths; print(*set(sys.modules) - before)"
    )
    output = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert set(output.stdout.split()) <= {"pypm", "pypm.paths", "__future__"}

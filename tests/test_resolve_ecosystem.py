"""The ecosystem harness: one question for both programs, and what counts as a difference."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from packaging.version import Version

from integration.ecosystem.__main__ import Row
from integration.ecosystem.contest import Result
from integration.ecosystem.pins import (
    count,
    differences,
    our_constraints,
    our_pins,
    reasons,
    their_pins,
)
from integration.ecosystem.question import Question, read_folder, read_question
from integration.ecosystem.second import newer_and_older
from integration.peers import uv, uv_environment
from pypm.codec.pyproject import parse_project

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = r"""
[project]
name = "p"
dynamic = ["version", "readme"]
dependencies = ["a ; python_version < \"3.13\""]
[dependency-groups]
dev = ["b"]
[tool.uv]
dev-dependencies = ["c>=1"]
environments = "sys_platform == 'linux'"
constraint-dependencies = ["a<3"]
exclude-newer = 2026-01-31
compile-bytecode = true
conflicts = [[{ group = "dev" }, { group = "lint" }]]
[[tool.uv.index]]
name = "cpu"
url = "https://example.org/simple"
explicit = true
authenticate = "always"
[tool.uv.sources]
a = { index = "cpu" }
"""


def question(folder: Path, text: str = PROJECT) -> Question:
    source = folder / "p"
    source.mkdir()
    (source / "pyproject.toml").write_text(text.replace('dev = ["b"]', 'dev = ["b"]\nlint = ["d"]'))
    (source / "uv.lock").write_text("")
    return read_question(source)


def test_what_one_tool_was_told_is_told_to_the_other(tmp_path: Path) -> None:
    copied = question(tmp_path).write(tmp_path / "copy")
    assert not (copied / "uv.lock").exists()
    project = parse_project((copied / "pyproject.toml").read_bytes(), root=copied)
    assert [str(found) for found in project.groups["dev"]] == ["b", "c>=1"]  # type: ignore[index]
    assert [str(found) for found in project.settings.environments] == ['sys_platform == "linux"']
    assert [str(found) for found in project.settings.constraints] == ["a<3"]
    assert project.settings.exclude_newer == "2026-01-31"
    assert project.settings.conflicts == (("group:dev", "group:lint"),)
    assert project.indexes[0].name == "cpu"
    assert project.version == "0"
    assert str(project.requires_python) == ">=3.10"


def test_what_a_project_tells_us_itself_stays(tmp_path: Path) -> None:
    text = '[project]\nname = "p"\nversion = "1"\n[tool.uv]\nresolution = "lowest"\n[tool.pypm]\n'
    copied = question(tmp_path, text).write(tmp_path / "copy")
    document = tomllib.loads((copied / "pyproject.toml").read_text())
    assert document["tool"] == {"uv": {"resolution": "lowest"}, "pypm": {}}
    assert [found.name for found in read_folder(tmp_path)] == ["copy", "p"]


def test_pins_are_read_from_both_locks(tmp_path: Path) -> None:
    (tmp_path / "pypm.lock").write_text(
        'forks = ["x", "y", "z"]\n'
        '[[packages]]\nname = "a"\nversion = "1.0"\n[[packages]]\nname = "a"\nversion = "2"\n'
    )
    (tmp_path / "uv.lock").write_text(
        'resolution-markers = ["x", "y"]\n'
        '[[package]]\nname = "a"\nversion = "1"\nsource = { registry = "r" }\n'
        '[[package]]\nname = "b"\nversion = "1"\nsource = { registry = "r" }\n'
        '[[package]]\nname = "p"\nversion = "0"\nsource = { editable = "." }\n'
    )
    ours, our_forks = our_pins(tmp_path)
    theirs, forks = their_pins(tmp_path)
    assert ours == {"a": frozenset({Version("1"), Version("2")})}
    assert (count(ours), count(theirs), our_forks, forks) == (2, 2, 3, 2)
    assert differences(ours, theirs) == {
        "a": "a: ours 1.0 and 2, the peer's 1",
        "b": "b: ours none, the peer's 1",
    }


def test_only_what_the_peer_locks_is_compared(tmp_path: Path) -> None:
    asked = question(tmp_path)
    good, bad = Result(pins={}), Result(trouble="no")
    assert Row(asked, good, bad).verdict == "uv failed"
    assert Row(asked, bad, bad).passed
    assert not Row(asked, bad, good).passed
    assert not Row(asked, good, good, unexplained=["a"]).passed
    assert Row(asked, good, good, explained={"a": "why"}).passed


def test_reasons_are_for_the_packages_of_one_project() -> None:
    better = {"p": [{"packages": ["a", "b"], "reason": "why"}]}
    assert reasons("p", better) == {"a": "why", "b": "why"}
    assert not reasons("q", better)


def test_our_pins_can_be_put_to_the_peer(tmp_path: Path) -> None:
    lock = """
[[packages]]
name = "a"
version = "1.0"
index = "default"
marker = "sys_platform == 'linux'"
[[packages]]
name = "b"
version = "2.0"
index = "default"
[[packages]]
name = "tree"
version = "1.0"
"""
    (tmp_path / "pypm.lock").write_text(lock)
    assert our_constraints(tmp_path) == ["a==1.0 ; sys_platform == 'linux'", "b==2.0"]
    ours = {
        "a": frozenset({Version("2"), Version("1")}),
        "b": frozenset({Version("1")}),
        "c": frozenset[Version](),
    }
    peers = {"a": frozenset({Version("1")}), "b": frozenset({Version("3")}), "c": frozenset({Version("1")})}
    assert newer_and_older(ours, peers) == (1, 1)


def test_uv_reads_the_settings_of_the_project_and_no_others(tmp_path: Path) -> None:
    folder, home = tmp_path / "p", tmp_path / "home"
    folder.mkdir()
    (home / ".config" / "uv").mkdir(parents=True)
    (home / ".config" / "uv" / "uv.toml").write_text('prerelease = "allow"\n')
    text = (
        '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.10"\n[tool.uv]\nresolution = "lowest"\n'
    )
    (folder / "pyproject.toml").write_text(text)
    environment = {"HOME": str(home), "PATH": os.defpath, **uv_environment(tmp_path)}
    argv = [str(uv()), "lock", "--offline", "--python", sys.executable]
    subprocess.run(argv, cwd=folder, env=environment, check=True, capture_output=True)
    options = tomllib.loads((folder / "uv.lock").read_text())["options"]
    assert options == {"resolution-mode": "lowest"}

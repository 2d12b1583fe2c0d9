"""Run plans: which calls they answer, and what makes them stale."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pypm.workflow import plans


@pytest.mark.parametrize(
    ("arguments", "options", "words", "module"),
    [
        (["run", "true"], [], ["true"], False),
        (["run", "--frozen", "pytest", "-x", "--frozen"], ["--frozen"], ["pytest", "-x", "--frozen"], False),
        (["run", "--extra", "a", "--extra=b", "x"], ["--extra=a", "--extra=b"], ["x"], False),
        (["run", "-m", "mod", "-v"], ["-m"], ["mod", "-v"], True),
        (["run", "--", "--frozen"], [], ["--frozen"], False),
        (["run", "--project", "p", "x"], ["--project=p"], ["x"], False),
    ],
)
def test_calls_that_a_plan_may_answer(
    arguments: list[str], options: list[str], words: list[str], module: bool
) -> None:
    call = plans.read_call(arguments)
    assert call is not None
    assert (call.options, call.words, call.module) == (options, words, module)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["lock"],
        ["sync", "-v"],
        ["sync", "--check"],
        ["sync", "--json"],
        ["sync", "surplus"],
        ["-v", "run", "true"],
        ["run"],
        ["run", "--frozen"],
        ["run", "-v", "true"],
        ["run", "--explain", "true"],
        ["run", "--allow-net", "true"],
        ["run", "--allow-read", ".", "true"],
        ["run", "--help"],
        ["run", "--extra"],
        ["run", "--frozen=1", "true"],
        ["run", "-qv", "true"],
    ],
)
def test_everything_else_goes_to_the_whole_program(arguments: list[str]) -> None:
    assert plans.read_call(arguments) is None


def test_a_sync_may_be_answered_by_a_plan_too() -> None:
    call = plans.read_call(["sync", "--locked", "--extra", "x"])
    assert call is not None
    assert (call.command, call.options, call.words) == ("sync", ["--locked", "--extra=x"], [])


def key(*options: str) -> tuple:
    call = plans.read_call(["run", *options, "true"])
    assert call is not None
    return plans.plan_key(call, "/project", {"PYPM_OFFLINE": "1", "LANG": "C"})


def test_the_key_knows_options_and_own_variables_but_not_the_command() -> None:
    assert key() == key()
    assert key() != key("--frozen")
    call = plans.read_call(["run", "false"])
    assert call is not None
    assert plans.plan_key(call, "/project", {"PYPM_OFFLINE": "1", "LANG": "de"}) == key()
    assert plans.plan_key(call, "/project", {}) != key()
    assert plans.plan_key(call, "/other", {"PYPM_OFFLINE": "1"}) != key()
    assert plans.plan_key(call, "/project", {"PYPM_OFFLINE": "1", "PATH": "/elsewhere"}) != key()


def saved(tmp_path: Path) -> tuple[str, Path]:
    file = tmp_path / "pyproject.toml"
    file.write_text("one")
    path = plans.plan_path(str(tmp_path / "plans"), key())
    facts = plans.Facts(files=plans.file_facts([str(file), str(tmp_path / "missing")]))
    plans.save(path, key(), facts, {"argv": ("true",)})
    return path, file


def test_a_plan_comes_back(tmp_path: Path) -> None:
    path, _ = saved(tmp_path)
    assert plans.load(path, key()) == {"argv": ("true",)}
    assert [entry.name for entry in (tmp_path / "plans").iterdir()] == [Path(path).name]


def test_a_changed_file_makes_it_stale(tmp_path: Path) -> None:
    path, file = saved(tmp_path)
    file.write_text("two")
    assert plans.load(path, key()) is None


def test_a_replaced_file_of_the_same_size_and_time_makes_it_stale(tmp_path: Path) -> None:
    path, file = saved(tmp_path)
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    other = tmp_path / "other"
    other.write_text("two")
    os.utime(other, ns=times)
    other.replace(file)
    assert plans.load(path, key()) is None


def test_a_file_that_appears_or_vanishes_makes_it_stale(tmp_path: Path) -> None:
    path, file = saved(tmp_path)
    (tmp_path / "missing").touch()
    assert plans.load(path, key()) is None
    (tmp_path / "missing").unlink()
    assert plans.load(path, key()) is not None
    file.unlink()
    assert plans.load(path, key()) is None


def test_another_key_at_the_same_place_is_not_answered(tmp_path: Path) -> None:
    path, _ = saved(tmp_path)
    assert plans.load(path, key("--frozen")) is None


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_a_damaged_plan_is_no_plan(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("plan") / "plan"
    path.write_bytes(content)
    assert plans.load(str(path), key()) is None


def test_a_plan_with_one_byte_changed_is_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    plans.save(str(path), key(), plans.Facts((), (), ()), {"word": "true"})
    whole = path.read_bytes()
    assert plans.load(str(path), key()) == {"word": "true"}
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert plans.load(str(path), key()) is None


def test_a_plan_of_another_user_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = saved(tmp_path)
    # Whoever wrote the plan is neither us nor root.
    mine = Path(path).stat()
    values = list(mine)
    values[4] = mine.st_uid + 1
    monkeypatch.setattr(plans.os, "fstat", lambda descriptor: os.stat_result(values))
    monkeypatch.setattr(plans.os, "geteuid", lambda: mine.st_uid)
    assert plans.load(path, key()) is None


def test_a_plan_that_everybody_may_write_is_not_trusted(tmp_path: Path) -> None:
    path, _ = saved(tmp_path)
    assert plans.load(path, key()) is not None
    Path(path).chmod(0o666)
    assert plans.load(path, key()) is None


def test_a_cache_that_everybody_may_write_is_nobodys_own(tmp_path: Path) -> None:
    assert plans.is_own(str(tmp_path))
    tmp_path.chmod(0o777)
    assert not plans.is_own(str(tmp_path))
    assert not plans.is_own(str(tmp_path / "missing"))


def test_a_disk_that_refuses_costs_nothing_but_speed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    plans.save(str(tmp_path / "file" / "plan"), key(), plans.Facts(), None)
    assert plans.load(str(tmp_path / "file" / "plan"), key()) is None


def test_scripts_and_modules_are_handed_to_the_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.py").write_text("print(1)\n")
    Path("b.py").write_text("# /// script\n# dependencies = []\n# ///\n")
    assert plans.command_words(["a.py", "x"], module=False) == ("python", "a.py", "x")
    assert plans.command_words(["missing.py"], module=False) == ("missing.py",)
    assert plans.command_words(["json.tool"], module=True) == ("python", "-m", "json.tool")
    assert plans.has_inline_metadata(["b.py"], module=False)
    assert not plans.has_inline_metadata(["a.py"], module=False)
    assert not plans.has_inline_metadata(["b.py"], module=True)

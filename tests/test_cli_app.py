"""The command table, the global flags and the exit codes, through the real entry."""

from __future__ import annotations

import importlib
import json
import platform
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pypm import __version__
from pypm.cli import app
from pypm.cli.options import GlobalOptions
from pypm.errors import IntegrityError, IsolationError, LockError


def test_version_is_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--version"]) == 0
    answer = capsys.readouterr()
    assert answer.out == f"pypm {__version__}\n"
    assert answer.err == ""


def test_self_version_tells_the_python_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["self", "version"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"pypm {__version__}",
        f"Python {platform.python_version()} ({sys.executable})",
    ]


@pytest.mark.parametrize("group", ["plugin", "sandbox", "cache", "python"])
def test_the_help_of_a_group_cuts_no_sentence(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([group, "--help"]) == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


def test_locked_in_the_environment_gives_way_to_frozen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYPM_LOCKED", "1")
    assert app.main(["--project", str(tmp_path), "sync", "--frozen"]) == 1
    assert "there is no `pyproject.toml`" in capsys.readouterr().err


def test_self_version_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["self", "version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == __version__


@pytest.mark.parametrize("name", sorted(app.COMMANDS))
def test_every_command_of_the_table_exists_and_helps(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = importlib.import_module(f"pypm.cli.commands.{name}").command
    assert isinstance(command, click.Command)
    assert app.main([name, "--help"]) == 0
    assert "Usage: pypm " + name in capsys.readouterr().out


def test_no_module_of_a_command_is_imported_for_the_help() -> None:
    program = (
        "import sys\n"
        "from pypm.cli.app import main\n"
        "code = main(['--help'])\n"
        "print([name for name in sys.modules if name.startswith('pypm.cli.commands.')])\n"
        "print([name for name in ('rich', 'httpx', 'packaging', 'sandbox') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["[]", "[]"]


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["sel"], "error: there is no command `sel`", "did you mean `pypm self`?"),
        (["install"], "error: there is no command `install`", "did you mean `pypm sync`?"),
        (["self", "vers"], "error: there is no command `vers`", "did you mean `pypm self version`?"),
        (["add", "flask"], "error: there is no command `add`", "`dependencies` of pyproject.toml"),
        (["cache", "add"], "error: there is no command `add`", "`pypm cache --help`"),
        (["self", "version", "--jsn"], "error: there is no option `--jsn`\n", "did you mean `--json`?"),
        (["lock", "--foo"], "error: there is no option `--foo`\n", "`pypm lock --help`"),
        (["completion"], "error: missing argument `{bash|zsh|fish}`\n", "`pypm completion --help`"),
        (["tree", "--depth", "x"], "for `--depth`: `x` is not a valid whole number", "`pypm tree --help`"),
        (["sync", "--locked", "--frozen"], "`--locked` and `--frozen` do not go together", "the project"),
        (["init", "--app", "--lib"], "`--app`, `--lib` and `--script` do not go together", ""),
        (["--color", "pink", "self"], "pink", "--help"),
    ],
)
def test_a_mistake_in_the_command_line_is_exit_two_with_a_hint(
    words: list[str], error: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert error.lower() in told.err.lower()
    assert hint in told.err
    assert "Traceback" not in told.err


def test_without_a_command_the_help_is_talk(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "Commands:" in told.err


def seen_options(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> GlobalOptions:
    seen: list[GlobalOptions] = []

    @click.command(cls=app.Command)
    @click.pass_obj
    def command(invocation: app.Invocation) -> None:
        seen.append(invocation.options)

    monkeypatch.setattr(app.LazyGroup, "get_command", lambda self, ctx, name: command)
    assert app.main(words) == 0
    return seen[0]


def test_global_flags_are_understood_before_and_after_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    before = seen_options(monkeypatch, ["-v", "--offline", "--project", "a", "x"])
    after = seen_options(monkeypatch, ["x", "-v", "--offline", "--project", "a"])
    assert before == after
    assert (before.verbose, before.offline, before.project) == (1, True, Path("a"))


def test_counted_flags_add_up_and_the_later_value_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    options = seen_options(monkeypatch, ["-v", "-p", "3.11", "x", "-v", "-p", "3.12"])
    assert options.verbose == 2
    assert options.python == "3.12"


def test_every_global_flag_can_be_given_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYPM_OFFLINE", "1")
    monkeypatch.setenv("PYPM_VERBOSE", "2")
    monkeypatch.setenv("PYPM_CACHE_DIR", "/somewhere")
    monkeypatch.setenv("PYPM_PYTHON", "3.12")
    options = seen_options(monkeypatch, ["x", "--python", "3.13"])
    assert options.offline
    assert options.verbose == 2
    assert options.cache_dir == Path("/somewhere")
    assert options.python == "3.13"


def test_directory_is_changed_before_anything_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir("/")
    seen_options(monkeypatch, ["--directory", str(tmp_path), "x"])
    assert Path.cwd() == tmp_path
    assert app.main(["--directory", str(tmp_path / "missing"), "x"]) == 2
    assert "cannot change to" in capsys.readouterr().err


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, words: list[str]) -> int:
    @click.command(cls=app.Command)
    def command() -> None:
        raise error

    monkeypatch.setattr(app.LazyGroup, "get_command", lambda self, ctx, name: command)
    return app.main(words)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LockError("stale", reference="r", hint="do this"), 1),
        (IntegrityError("wrong", reference="r"), 3),
        (IsolationError("none", reference="r"), 125),
        (OSError(28, "No space left on device", "/x"), 1),
        (ZeroDivisionError("oh"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(monkeypatch, error, ["x"]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert "Traceback" not in told.err
    if code == 130:
        assert told.err == "Interrupted\n"


def test_a_traceback_is_for_very_verbose_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, ZeroDivisionError("oh"), ["x", "-vv"])
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "this is a bug of pypm" in told

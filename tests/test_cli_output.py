"""How errors and talk look."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from pypm.cli.output import Console, as_pypm_error
from pypm.errors import InternalError, LockError, StorageError


def chained() -> LockError:
    try:
        try:
            raise OSError(13, "Permission denied", "/x/y")  # noqa: TRY301 - the cause at the bottom
        except OSError as cause:
            raise StorageError("cannot read `y`: Permission denied", reference="r") from cause
    except StorageError as cause:
        error = LockError(
            "the lock `pypm.lock` cannot be used",
            reference="r",
            hint="run `pypm lock`",
            details=("one", "two"),
        )
        error.__cause__ = cause
        return error


def test_an_error_is_sentence_details_causes_and_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert Console().fail(chained()) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: the lock `pypm.lock` cannot be used",
        "  one",
        "  two",
        "  caused by: cannot read `y`: Permission denied",
        "  caused by: Permission denied: `/x/y`",
        "hint: run `pypm lock`",
    ]


def test_a_cause_that_repeats_the_message_is_not_told_twice(capsys: pytest.CaptureFixture[str]) -> None:
    error = StorageError("cannot write `a`: disk full", reference="r")
    error.__cause__ = RuntimeError("disk full")
    Console().fail(error)
    assert capsys.readouterr().err == "error: cannot write `a`: disk full\n"


def test_quiet_keeps_data_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(verbosity=-1)
    console.step("Resolved", "1 package")
    console.warn("careful")
    console.change("+", "a 1")
    with console.task("Downloading", "a"):
        pass
    console.data("answer")
    console.fail(LockError("no", reference="r"))
    told = capsys.readouterr()
    assert told.out == "answer\n"
    assert told.err == "error: no\n"


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    with console.task("Downloading", "torch-2.3.1.whl") as task:
        task.expect(779 << 20, done=1 << 20)
        task.advance(5)
    with console.task("Downloading", "six-1.16.whl") as task:
        task.expect(11_000)
    with console.task("Building", "x", unit="lines") as task:
        task.say("gcc ...")
    with console.task("Resolving", "", unit="packages") as task:
        task.say("torch")
    with console.task("Unpacking", "six-1.16.whl", unit="wheels"):
        pass
    console.step("Installed", "1 package")
    told = capsys.readouterr()
    assert told.err == (
        "Downloading torch-2.3.1.whl (779.0 MiB, resumed at 1.0 MiB)\nBuilding x\nInstalled 1 package\n"
    )
    assert "rich" not in sys.modules or console._display is None


def test_one_log_of_both_streams_keeps_their_order() -> None:
    program = (
        "from pypm.cli.output import Console\n"
        "console = Console()\n"
        "console.data('answer')\n"
        "console.warn('talk')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["answer", "warning: talk"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("color", "variables", "colored"),
    [
        ("auto", {}, True),
        ("auto", {"NO_COLOR": "1"}, False),
        ("auto", {"NO_COLOR": ""}, True),
        ("auto", {"TERM": "dumb"}, False),
        ("always", {"NO_COLOR": "1"}, True),
        ("never", {}, False),
    ],
)
def test_colours(
    color: str, variables: dict[str, str], colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    Console(color=color).fail(LockError("no", reference="r"))
    assert ("\x1b[31merror:\x1b[0m" in terminal.getvalue()) is colored


def test_live_progress_shows_the_resumed_part_and_leaves_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    console = Console()
    with console.task("Downloading", "torch", total=10_000_000) as task:
        task.expect(10_000_000, done=4_000_000)
        task.advance(1_000_000)
        console.step("Prepared", "something else")
        console._live()._progress.refresh()
    console.close()
    text = terminal.getvalue()
    assert "resumed at 3.8 MiB" in text
    assert "4.8 MiB/9.5 MiB" in text
    assert "Prepared" in text
    assert "\x1b[?25h" in text, "the cursor is shown again"


def test_the_answer_goes_to_stdout_while_progress_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal, answer = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", answer)
    monkeypatch.setenv("TERM", "xterm")
    console = Console()
    with console.task("Downloading", "torch", total=10):
        sys.stdout.write("not taken over\n")
        console.data("sha256:1")
    console.close()
    assert answer.getvalue() == "not taken over\nsha256:1\n"


def test_what_no_room_translated_is_a_bug_but_for_the_system() -> None:
    assert isinstance(as_pypm_error(ValueError("x")), InternalError)
    assert isinstance(as_pypm_error(OSError(28, "No space left on device", b"/x")), StorageError)

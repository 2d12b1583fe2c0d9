"""`python -m sandbox`: its mistakes, and the ends that a command cannot tell of itself."""

from __future__ import annotations

import subprocess
import sys

import pytest


def program(*words: str) -> tuple[int, str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", *words], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr.splitlines()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no command is given"),
        (["--"], "no command is given"),
        (["--memory", "5Q", "true"], "argument --memory: `5Q` is not a size such as 512M or 2G"),
        (["--cpus", "x", "true"], "argument --cpus: `x` is not a number"),
        (["--pids", "1.5", "true"], "argument --pids: `1.5` is not a whole number"),
        (["--isolation", "box", "true"], "argument --isolation: there is no isolation `box`"),
        (["--allow-net", "host:x", "true"], "argument --allow-net: `host:x` is not HOST or HOST:PORT"),
    ],
)
def test_a_mistake_is_one_line_and_a_hint(words: list[str], says: str) -> None:
    code, out, told = program(*words)
    assert (code, out) == (2, "")
    assert told == [f"sandbox: {says}", "sandbox: hint: `python -m sandbox --help` lists what it understands"]


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("dashes", [[], ["--"]])
def test_a_command_has_options_of_its_own(dashes: list[str]) -> None:
    assert program(*dashes, "sh", "-c", "echo $0", "--stats", "--") == (0, "--stats\n", [])


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["no-such-program"], 127, "`no-such-program` cannot be started inside: No such file or directory"),
        (["/etc/passwd"], 126, "`/etc/passwd` cannot be started inside: Permission denied"),
        (["--timeout", "0.2", "sleep", "30"], 124, "`sleep` was ended at its time limit"),
        (["sh", "-c", "kill -9 $$"], 137, "`sh` was ended by signal 9 (Killed)"),
    ],
)
def test_an_end_that_the_command_cannot_tell_is_told(words: list[str], code: int, says: str) -> None:
    assert program(*words) == (code, "", [f"sandbox: {says}"])

"""Indexes that want to exhaust whoever asks them: one error each, in bounded time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.index_server import Fault, IndexServer, make_wheel

JSON = {"content-type": "application/vnd.pypi.simple.v1+json"}
HTML = {"content-type": "text/html"}
ENTRY = b'{"filename":"a-1.0.tar.gz","url":"a-1.0.tar.gz","hashes":{}},'
LINK = b'<a href="a-1.0.tar.gz">a-1.0.tar.gz</a>'
PEAK_BYTES = 384 << 20
"""An ordinary `pypm lock` has 60 MiB; the largest page that is read has 64 MiB and is held twice at most."""


@pytest.mark.parametrize(
    ("make_fault", "says"),
    [
        (lambda: Fault(endless=True, body=b'{"files":[' + ENTRY * 1000, headers=JSON), "larger than 64 MiB"),
        (lambda: Fault(endless=True, body=LINK * 1000, headers=HTML), "larger than 64 MiB"),
        (lambda: Fault(body=b"[" * (60 << 20), headers=JSON), "is not the JSON of a project page"),
        (
            lambda: Fault(body=b'{"files":[' + ENTRY * 900_000 + b"]}", headers=JSON),
            "more than 100,000 files",
        ),
        (lambda: Fault(body=LINK * 1_500_000, headers=HTML), "more than 100,000 files"),
    ],
    ids=["endless json", "endless html", "deep json", "long json", "long html"],
)
def test_a_page_that_is_too_much(tmp_path: Path, make_fault: Callable[[], Fault], says: str) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["a"]\n'
    )
    with IndexServer() as server:
        server.add("a", make_wheel("a", "1.0"))
        server.fault("/simple/a/", make_fault())
        surroundings = dict(
            os.environ, PYPM_CACHE_DIR=str(tmp_path / "cache"), PYPM_DEFAULT_INDEX=server.url, NO_COLOR="1"
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "pypm", "lock"],
            cwd=tmp_path,
            env=surroundings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        told = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stderr.close()
    assert process.returncode == 1, told
    assert told.startswith("error: ")
    assert told.count("error:") == 1
    assert says in told
    assert usage.ru_maxrss << 10 < PEAK_BYTES
    assert not (tmp_path / "pypm.lock").exists()

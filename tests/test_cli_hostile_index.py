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

MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
"""Runs a command and prints its peak memory in KiB. It does so from a small process: a child begins with the
peak of whoever forked it, and these tests have grown large. Source: getrusage(2), `setmax_mm_hiwater_rss`."""


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
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, sys.executable, "-m", "pypm", "lock"],
            cwd=tmp_path,
            env=surroundings,
            capture_output=True,
            text=True,
            check=False,
        )
    told = done.stderr
    assert done.returncode == 1, told
    assert told.startswith("error: ")
    assert told.count("error:") == 1
    assert says in told
    assert int(done.stdout) << 10 < PEAK_BYTES
    assert not (tmp_path / "pypm.lock").exists()

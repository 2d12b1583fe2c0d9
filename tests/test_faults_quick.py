"""The quick part of `integration.faults`: kills and a crowd, with wheels made on the spot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sandbox

CHECKOUT = Path(__file__).resolve().parent.parent

_host = sandbox.probe()
pytestmark = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")


def test_six_kills_and_a_crowd(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "integration.faults", "--tiny", "--trials", "6", "--folder", tmp_path],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "8 passed, 0 failed"
    assert list(tmp_path.iterdir()) == []

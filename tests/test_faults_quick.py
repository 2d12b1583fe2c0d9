"""The quick part of `integration.faults`: harm at a few system calls, and a crowd, with small wheels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import sandbox
from integration.faults import tracing

CHECKOUT = Path(__file__).resolve().parent.parent

_host = sandbox.probe()
_missing = tracing.missing()
pytestmark = [
    pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}"),
    pytest.mark.skipif(_missing is not None, reason=f"system calls cannot be traced here: {_missing}"),
]


def test_a_few_of_each_kind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "integration.faults", "--quick", "--json", "--folder", tmp_path],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)
    assert {row["program"] for row in rows} == {"pypm"}
    assert sum(row["trials"] for row in rows) == 8
    assert [row["wrong"] for row in rows if row["wrong"]] == []
    assert list(tmp_path.iterdir()) == []

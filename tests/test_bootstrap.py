"""The first pypm is installed from a file that must say what pypm.lock says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def test_bootstrap_requirements_are_those_of_the_lock(tmp_path: Path) -> None:
    program = tmp_path / "pypm"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pypm "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    made = tmp_path / "bootstrap.txt"
    done = subprocess.run(
        [CHECKOUT / ".ci" / "make-bootstrap", made],
        env={
            "PYPM": str(program),
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "PYTHONPATH": str(CHECKOUT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kept = CHECKOUT / ".ci" / "bootstrap.txt"
    assert made.read_bytes() == kept.read_bytes(), "pypm.lock changed: run .ci/make-bootstrap"


def test_bootstrap_pins_every_file_by_hash_and_compiles_nothing() -> None:
    text = (CHECKOUT / ".ci" / "bootstrap.txt").read_text(encoding="utf-8")
    requirements = [line for line in text.splitlines() if line and line[0].isalpha()]
    assert len(requirements) > 10
    assert all("==" in line for line in requirements)
    assert text.count("--hash=sha256:") >= len(requirements)
    assert "python-prctl" not in text

"""Bytecode is the same bytes in every process, whatever that process did before."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from pypm.store.unpacker import INSIDE

SOURCE = '''
"""A module whose constants other modules have, too."""

from decimal import Decimal

KINDS = {"decimal", "numeric", "mirrored", "lookup"}

def classify(text):
    if text in {"alpha", "beta", "gamma", "delta", "bidirectional", "combining"}:
        return text.normalize("NFKD"), (1000, 2.5, "not a name", b"bytes")
    return lambda combining: (combining in {3, 70000, "east_asian_width", None}, Decimal("1"))
'''

PROGRAM = """
import sys
sys.path[:] = [{inside!r}, *filter(None, sys.path)]
from inside.bytecode import compile_sources, seed_hashes
seed_hashes()
{history}
print(compile_sources(sys.argv[1], ["prefix/a.py"], 0))
"""

HISTORIES = (
    "",
    "import unicodedata, decimal, json",
    "compile(open(sys.argv[1] + '/prefix/a.py').read(), 'x', 'exec')",
)


def test_the_same_bytes_whatever_came_before(tmp_path: Path) -> None:
    python = Path(sys.executable)
    made = {_compiled(python, tmp_path / str(number), what) for number, what in enumerate(HISTORIES * 3)}
    assert len(made) == 1


def _compiled(python: Path, folder: Path, history: str) -> str:
    (folder / "prefix").mkdir(parents=True)
    (folder / "prefix/a.py").write_text(SOURCE)
    program = PROGRAM.format(inside=str(INSIDE.parent), history=history)
    subprocess.run([python, "-I", "-S", "-B", "-c", program, folder], env={}, check=True, capture_output=True)
    (made,) = (folder / "prefix/__pycache__").iterdir()
    return hashlib.sha256(made.read_bytes()).hexdigest()

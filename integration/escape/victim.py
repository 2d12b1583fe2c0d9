"""Projects that attacks aim at: with an environment on disk whose files are the store's own."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

from integration.escape.arena import Arena

_PROJECT = """\
[project]
name = "holder"
version = "0"
requires-python = ">=3.10"
dependencies = ["linked"]
[tool.pypm]
package = false
[tool.pypm.sources]
linked = { path = "wheels/linked-1.0-py3-none-any.whl" }
"""
_METADATA = "Metadata-Version: 2.1\nName: linked\nVersion: 1.0\n"
_WHEEL = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def linked_project(arena: Arena, folder: str) -> Path:
    """Make a project in `folder`, below the arena's place, that holds the module `linked`, and sync it.

    A project that is there already is left as it is.
    """
    project = arena.place / folder
    if project.exists():
        return project
    (project / "src").mkdir(parents=True)
    (project / "wheels").mkdir()
    _write_wheel(project / "wheels" / "linked-1.0-py3-none-any.whl")
    (project / "pyproject.toml").write_text(_PROJECT)
    shutil.copytree(arena.place / "project" / "attack", project / "attack")
    if arena.user:
        subprocess.run(["chown", "-R", f"{arena.user}:", str(project)], check=True)
    arena.must([*arena.pypm, "sync"], cwd=project)
    return project


def _write_wheel(path: Path) -> None:
    members = {
        "linked.py": "X = 1\n",
        "linked-1.0.dist-info/METADATA": _METADATA,
        "linked-1.0.dist-info/WHEEL": _WHEEL,
    }
    rows = [f"{name},sha256={_digest(text)},{len(text)}" for name, text in members.items()]
    record = "\n".join([*rows, "linked-1.0.dist-info/RECORD,,", ""])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**members, "linked-1.0.dist-info/RECORD": record}.items():
            archive.writestr(name, content)


def _digest(content: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()

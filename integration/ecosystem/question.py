"""One question for two programs: a project's copy with the settings of each tool said to the other."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.scenarios.model import read_toml

PYPROJECT = "pyproject.toml"
DEFAULT_REQUIRES_PYTHON = ">=3.10"
"""For a project that does not say: the tools would take different ones."""
SAME_MEANING = {
    "conflicts": "conflicts",
    "constraint-dependencies": "constraints",
    "default-groups": "default-groups",
    "environments": "environments",
    "exclude-dependencies": "exclusions",
    "exclude-newer": "exclude-newer",
    "exclude-newer-package": "exclude-newer-package",
    "no-binary": "no-binary",
    "no-binary-package": "no-binary-package",
    "no-build": "no-build",
    "no-build-package": "no-build-package",
    "override-dependencies": "overrides",
    "package": "package",
    "prerelease": "prerelease",
    "required-environments": "required-environments",
    "resolution": "resolution",
    "sources": "sources",
}
"""Settings of `[tool.uv]` and what `[tool.pypm]` calls them."""
INDEX_KEYS = ("default", "explicit", "format", "name", "url")
SKIPPED = (".git", ".venv", "node_modules", "pypm.lock", "uv.lock", "__pycache__")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A project to lock."""

    name: str
    source: Path
    requires_python: str
    document: Mapping[str, Any]
    """Its pyproject.toml, completed so that both tools read the same from it."""

    def write(self, folder: Path) -> Path:
        """Copy the project with the completed pyproject.toml to `folder`; return that."""
        shutil.copytree(self.source, folder, symlinks=True, ignore=shutil.ignore_patterns(*SKIPPED))
        (folder / PYPROJECT).write_text(_document_text(self.document), encoding="utf-8")
        return folder


def read_folder(folder: Path, only: str = "") -> list[Question]:
    """Return the projects right below a folder, by name."""
    found = sorted(path.parent for path in folder.glob(f"*/{PYPROJECT}") if only in path.parent.name)
    return [read_question(path) for path in found]


def read_question(source: Path) -> Question:
    """Return a project as both tools shall see it."""
    document = read_toml(source / PYPROJECT)
    project = document.get("project")
    requires_python = DEFAULT_REQUIRES_PYTHON
    if isinstance(project, dict):
        _state_version(project)
        requires_python = project.setdefault("requires-python", DEFAULT_REQUIRES_PYTHON)
    tools = document.setdefault("tool", {})
    theirs = tools.get("uv", {})
    development = theirs.pop("dev-dependencies", [])
    if development:
        groups = document.setdefault("dependency-groups", {})
        groups["dev"] = [*groups.get("dev", []), *development]
    if theirs and "pypm" not in tools:
        tools["pypm"] = translated(theirs)
    return Question(name=source.name, source=source, requires_python=requires_python, document=document)


def _state_version(project: dict[str, Any]) -> None:
    """Give a version to a project whose version only its repository tells: no pin depends on it."""
    dynamic = project.get("dynamic", [])
    if "version" in dynamic and not {"dependencies", "optional-dependencies"}.intersection(dynamic):
        project["version"] = "0"
        project["dynamic"] = [key for key in dynamic if key != "version"]


def translated(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `[tool.uv]` says about resolution as `[tool.pypm]` says it."""
    ours = {SAME_MEANING[key]: value for key, value in theirs.items() if key in SAME_MEANING}
    for key in ("environments", "required-environments"):
        if isinstance(ours.get(key), str):
            ours[key] = [ours[key]]
    indexes = theirs.get("index", [])
    if indexes:
        ours["index"] = [{key: entry[key] for key in INDEX_KEYS if key in entry} for entry in indexes]
    return ours


def _document_text(document: Mapping[str, Any]) -> str:
    return "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in document.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    # JSON's text is TOML's, but for the one control character that it leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

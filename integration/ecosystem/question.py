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
    "workspace": "workspace",
}
"""Settings of `[tool.uv]` and what `[tool.pypm]` calls them."""
SOURCE_KEYS = (
    "branch", "editable", "git", "index", "marker", "path", "rev", "subdirectory", "tag", "url", "workspace",
)  # fmt: skip
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
        for member in folder.rglob(PYPROJECT):
            if member.parent != folder:
                _translate_member(member)
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


def _translate_member(path: Path) -> None:
    """Say to pypm what a member of a workspace says to uv; what is no TOML is left to the tools to refuse."""
    try:
        document = read_toml(path)
    except ValueError:
        return
    tools = document.get("tool", {})
    if "uv" in tools and "pypm" not in tools:
        tools["pypm"] = translated(tools["uv"])
        path.write_text(_document_text(document), encoding="utf-8")


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
    if "sources" in theirs:
        ours["sources"] = {name: _sources(rows) for name, rows in theirs["sources"].items()}
    if "conflicts" in theirs:
        members = [[_conflict(member) for member in row] for row in theirs["conflicts"]]
        ours["conflicts"] = [row for row in members if all(row)]
    indexes = theirs.get("index", [])
    if indexes:
        ours["index"] = [{key: entry[key] for key in INDEX_KEYS if key in entry} for entry in indexes]
    return ours


def _sources(rows: Any) -> Any:
    """Keep what both tools know of a source; `package` and `lfs`, say, change no pin."""
    if isinstance(rows, list):
        return [_sources(row) for row in rows]
    return {key: rows[key] for key in SOURCE_KEYS if key in rows}


def _conflict(member: Mapping[str, Any]) -> dict[str, Any] | None:
    """Conflicts of other members of a workspace are theirs."""
    return {key: member[key] for key in ("extra", "group") if key in member} or None


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

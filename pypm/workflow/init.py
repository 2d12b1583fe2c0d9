"""The files of a new project: planned as data, then written without touching what is there."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.utils import InvalidName, NormalizedName, canonicalize_name

from pypm.codec.requirementsfile import RequirementsFile, parse_requirements_file
from pypm.errors import UsageError
from pypm.files import storage_errors
from pypm.paths import PROJECT_FILE
from pypm.regular import read_regular_text

NewFile = tuple[str, str]
"""A path, posix and relative to the project's root, and its text."""

_GITIGNORE = """\
/.venv/
/dist/
/build/
__pycache__/
*.egg-info/
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProject:
    """What is to be made."""

    name: str
    """As the user wrote it, or the folder's name."""
    kind: Literal["app", "lib", "script"] = "app"
    python: str
    """`3.12`: the version that `.python-version` asks for, and the lowest that is admitted."""
    description: str = ""
    script: str | None = None
    """The file name of a script; by default its name as a module's."""
    imported: RequirementsFile | None = None
    """Requirements that are taken over from a file."""


def plan_project(project: NewProject) -> tuple[NewFile, ...]:
    """Return the files of a new project.

    An app is a `main.py` beside its pyproject.toml; a lib is a package in src layout with a build system,
    typed and tested; a script is one file that carries its own requirements (PEP 723).

    Raises:
        UsageError: the name cannot be a project's, or a lib's module could not be imported by it.
    """
    name = _checked_name(project.name)
    if project.kind == "script":
        return ((project.script or f"{_module(name)}.py", _script(project)),)
    files: list[NewFile] = [
        (PROJECT_FILE, _pyproject(project, name)),
        ("README.md", f"# {name}\n" + (f"\n{project.description}\n" if project.description else "")),
        (".gitignore", _GITIGNORE),
        (".python-version", f"{project.python}\n"),
    ]
    if project.kind == "app":
        files.append(("main.py", _main(name)))
    else:
        module = _module(name)
        files += [
            (f"src/{module}/__init__.py", _library(name)),
            (f"src/{module}/py.typed", ""),
            (f"tests/test_{module}.py", _test(module)),
        ]
    return tuple(files)


def write_project(root: Path, files: Iterable[NewFile]) -> tuple[str, ...]:
    """Write the files that are not there yet; return the paths that were left as they are.

    Raises:
        UsageError: there is a project, or the script, already; nothing was written.
        StorageError: the disk refused.
    """
    planned = tuple(files)
    first, _ = planned[0]
    if _exists(root / first):
        raise UsageError(
            f"there is a `{first}` in `{root}` already",
            reference="project-exists",
            hint="choose another folder; nothing was changed",
        )
    kept = []
    for name, text in planned:
        path = root / name
        with storage_errors(f"write `{path}`"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                # Exclusive creation never follows a link and never overwrites, whoever else is writing.
                with path.open("x", encoding="utf-8", newline="\n") as stream:
                    stream.write(text)
            except FileExistsError:
                kept.append(name)
    return tuple(kept)


def read_requirements(path: Path) -> RequirementsFile:
    """Read a requirements file with those that it includes.

    Raises:
        ConfigurationError: some lines are no requirements.
        StorageError: a file cannot be read.
    """

    def read(name: str) -> str:
        with storage_errors(f"read `{path.parent / name}`"):
            return read_regular_text(path.parent / name, errors="replace")

    return parse_requirements_file(path.name, read)


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _checked_name(text: str) -> NormalizedName:
    try:
        return canonicalize_name(text, validate=True)
    except InvalidName:
        suggested = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-_.").lower()
        raise UsageError(
            f"`{text}` cannot be the name of a project",
            reference="invalid-name",
            hint=f"choose one with `--name`, such as `{suggested}`"
            if suggested
            else "choose one with `--name`",
        ) from None


def _module(name: NormalizedName) -> str:
    module = name.replace("-", "_")
    if not module.isidentifier() or keyword.iskeyword(module):
        raise UsageError(
            f"a module cannot be imported by the name `{module}`",
            reference="invalid-name",
            hint="choose a name with `--name` that starts with a letter and is no Python keyword",
        )
    return module


def _pyproject(project: NewProject, name: NormalizedName) -> str:
    lines = ["[project]", f"name = {_quoted(name)}", 'version = "0.1.0"']
    if project.description:
        lines.append(f"description = {_quoted(project.description)}")
    lines += ['readme = "README.md"', f"requires-python = {_quoted(f'>={project.python}')}"]
    imported = project.imported
    lines += _list("dependencies", map(str, imported.requirements if imported else ()))
    if project.kind == "lib":
        lines += ["", "[build-system]", 'requires = ["hatchling"]', 'build-backend = "hatchling.build"']
        lines += ["", "[dependency-groups]", 'dev = ["pytest"]']
    if imported is not None:
        lines += _settings(imported)
    return "\n".join(lines) + "\n"


def _settings(imported: RequirementsFile) -> list[str]:
    lines: list[str] = []
    if imported.constraints:
        lines += ["", "[tool.pypm]", *_list("constraints", map(str, imported.constraints))]
    for number, url in enumerate(imported.extra_index_urls, start=1):
        lines += ["", "[[tool.pypm.index]]", f'name = "extra-{number}"', f"url = {_quoted(url)}"]
    for number, url in enumerate(imported.find_links, start=1):
        lines += ["", "[[tool.pypm.index]]", f'name = "find-links-{number}"', f"url = {_quoted(url)}"]
        lines.append('format = "flat"')
    if imported.index_url is not None:
        lines += ["", "[[tool.pypm.index]]", f"url = {_quoted(imported.index_url)}", "default = true"]
    return lines


def _list(key: str, texts: Iterable[str]) -> list[str]:
    entries = [f"    {_quoted(text)}," for text in texts]
    return [f"{key} = [", *entries, "]"] if entries else [f"{key} = []"]


def _quoted(text: str) -> str:
    # A JSON string is a TOML string but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", r"\u007f")


def _script(project: NewProject) -> str:
    imported = project.imported
    metadata = [
        f"requires-python = {_quoted(f'>={project.python}')}",
        *_list("dependencies", map(str, imported.requirements if imported else ())),
    ]
    block = "\n".join(f"# {line}" for line in metadata)
    return f"# /// script\n{block}\n# ///\n\n{_main(project.name)}"


def _main(name: str) -> str:
    return f"""\
def main() -> None:
    print({_quoted(f"Hello from {name}!")})


if __name__ == "__main__":
    main()
"""


def _library(name: str) -> str:
    return f'''\
def hello() -> str:
    """Return a greeting."""
    return {_quoted(f"Hello from {name}!")}
'''


def _test(module: str) -> str:
    return f"""\
from {module} import hello


def test_hello() -> None:
    assert "Hello" in hello()
"""

"""`pypm init`: the interpreter of this machine decides which Python a new project starts with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pypm.codec.foreign import translate
from pypm.codec.pyproject import parse_project
from pypm.errors import UsageError
from pypm.files import storage_errors, write_atomically
from pypm.paths import PROJECT_FILE
from pypm.regular import read_regular
from pypm.workflow.context import Context
from pypm.workflow.init import NewProject, plan_project, read_requirements, write_project
from pypm.workflow.interpreters import any_interpreter

_ORIGINS = (PROJECT_FILE, "requirements.in", "requirements.txt")
"""Looked for in this order: what a person wrote comes before what a tool pinned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """What `init` was asked to make."""

    root: Path
    kind: Any
    """`app`, `lib` or `script`."""
    name: str
    description: str = ""
    script: str | None = None
    """The file name of a script, where the user gave one."""
    requirements: Path | None = None
    origin: str | None = None
    """A file of another package manager that is taken over; `auto` looks for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOutcome:
    """What became of it."""

    written: tuple[str, ...]
    kept: tuple[str, ...] = ()
    """Files that were there already and stay as they are."""
    notes: tuple[str, ...] = ()
    """What could not be taken over."""


def start(context: Context, request: StartRequest) -> StartOutcome:
    """Make the project, or take over one of another package manager.

    Raises:
        UsageError: there is a project already, there is nothing to take over, or the name cannot be one.
        ConfigurationError: what is to be taken over is malformed.
        InterpreterError: there is no Python that fits the request.
    """
    if request.origin is not None:
        origin = _found_origin(request)
        if origin.suffix == ".toml":
            return _take_over(request, origin)
        request = replace(request, requirements=origin)
    interpreter = any_interpreter(context)
    major, minor, *_ = interpreter.version.split(".")
    imported = None if request.requirements is None else read_requirements(request.requirements)
    files = plan_project(
        NewProject(
            name=request.name,
            kind=request.kind,
            python=f"{major}.{minor}",
            description=request.description,
            script=request.script,
            imported=imported,
        )
    )
    with storage_errors(f"make `{request.root}`"):
        request.root.mkdir(parents=True, exist_ok=True)
    kept = write_project(request.root, files)
    return StartOutcome(
        written=tuple(path for path, _ in files if path not in kept),
        kept=kept,
        notes=() if imported is None else imported.notes,
    )


def _found_origin(request: StartRequest) -> Path:
    if request.origin != "auto":
        return Path(str(request.origin))
    for name in _ORIGINS:
        if (request.root / name).is_file():
            return request.root / name
    raise UsageError(
        f"there is nothing to take over in `{request.root}`",
        reference="nothing-to-take-over",
        hint="name the file: `pypm init --from FILE`",
    )


def _take_over(request: StartRequest, origin: Path) -> StartOutcome:
    """Write the translated file, in place of the old one where it is the same."""
    with storage_errors(f"read `{origin}`"):
        content = read_regular(origin)
    translation = translate(content, file_name=origin.name)
    if translation is None:
        raise UsageError(
            f"`{origin}` is no project of poetry, pdm or uv",
            reference="nothing-to-take-over",
            hint="a project in the standard notation needs no translation: `pypm lock` reads it as it is",
        )
    target = request.root / PROJECT_FILE
    if target.exists() and not target.samefile(origin):
        raise UsageError(
            f"there is a `{PROJECT_FILE}` in `{request.root}` already",
            reference="project-exists",
            hint="choose another folder; nothing was changed",
        )
    text = translation.text.encode()
    parse_project(text, root=request.root)
    with storage_errors(f"make `{request.root}`"):
        request.root.mkdir(parents=True, exist_ok=True)
    write_atomically(target, text)
    return StartOutcome(written=(PROJECT_FILE,), notes=translation.notes)

"""`pypm init`: the interpreter of this machine decides which Python a new project starts with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pypm.files import storage_errors
from pypm.workflow.context import Context
from pypm.workflow.init import NewProject, plan_project, read_requirements, write_project
from pypm.workflow.interpreters import any_interpreter


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """What `init` was asked to make."""

    root: Path
    kind: Any
    """`app`, `lib` or `script`."""
    name: str
    description: str = ""
    requirements: Path | None = None


def start(context: Context, request: StartRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Make the project; return the files that were written, and those that were there already.

    Raises:
        UsageError: there is a project already, or the name cannot be one.
        InterpreterError: there is no Python that fits the request.
    """
    interpreter = any_interpreter(context)
    major, minor, *_ = interpreter.version.split(".")
    imported = None if request.requirements is None else read_requirements(request.requirements)
    files = plan_project(
        NewProject(
            name=request.name,
            kind=request.kind,
            python=f"{major}.{minor}",
            description=request.description,
            imported=imported,
        )
    )
    with storage_errors(f"make `{request.root}`"):
        request.root.mkdir(parents=True, exist_ok=True)
    kept = write_project(request.root, files)
    return tuple(path for path, _ in files if path not in kept), kept

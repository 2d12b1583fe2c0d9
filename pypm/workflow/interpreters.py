"""The interpreters of this machine, for `pypm python`."""

from __future__ import annotations

from packaging.version import Version

from pypm.codec.pyproject import DEFAULT_REQUIRES_PYTHON
from pypm.environment import interpreters
from pypm.model.target import Interpreter
from pypm.workflow.context import Context


def list_interpreters(context: Context) -> tuple[Interpreter, ...]:
    """Return every interpreter that starts, the newest first."""
    found = interpreters.find_all(context.cache.interpreters, outside=context.own_folder)
    return tuple(sorted(found, key=lambda one: Version(one.version), reverse=True))


def find_interpreter(context: Context, request: str | None) -> Interpreter:
    """Return the interpreter for `request`, or for the project; without a project any that pypm serves.

    Raises:
        InterpreterError: none fits.
    """
    if context.settings.root is None:
        return any_interpreter(context, request)
    if request is None:
        return context.interpreter
    return interpreters.find_interpreter(
        context.project.requires_python, request, context.cache.interpreters, outside=context.own_folder
    )


def any_interpreter(context: Context, request: str | None = None) -> Interpreter:
    """Return the interpreter for `request`, whatever project stands here.

    Raises:
        InterpreterError: none fits.
    """
    wanted = request or context.settings.python
    return interpreters.find_interpreter(
        DEFAULT_REQUIRES_PYTHON, wanted, context.cache.interpreters, outside=context.own_folder
    )

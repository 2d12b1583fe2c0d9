"""The interpreters of this machine, for `pypm python`."""

from __future__ import annotations

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from pypm.environment import interpreters
from pypm.model.target import Interpreter
from pypm.workflow.context import Context


def list_interpreters(context: Context) -> tuple[Interpreter, ...]:
    """Return every interpreter that starts, the newest first."""
    found = interpreters.find_all(context.cache.interpreters)
    return tuple(sorted(found, key=lambda one: Version(one.version), reverse=True))


def find_interpreter(context: Context, request: str | None) -> Interpreter:
    """Return the interpreter for `request`, or for the project; without a project any will do.

    Raises:
        InterpreterError: none fits.
    """
    if context.settings.root is not None and request is None:
        return context.interpreter
    requires_python = context.project.requires_python if context.settings.root is not None else SpecifierSet()
    wanted = request or context.settings.python
    return interpreters.find_interpreter(requires_python, wanted, context.cache.interpreters)

"""The errors that a user can meet, one tree, one exit code a branch.

The core raises these and never prints; `cli/output.py` alone renders them as
one sentence, the chain of causes and one `hint:`. Exceptions of foreign
libraries are translated into this tree at the room that uses the library.
"""

from __future__ import annotations


class PypmError(Exception):
    """A failure that is told to the user in one sentence.

    `message` is one sentence without a final stop, literals in backticks.
    `reference` is a stable kebab-case name for scripts, tests and the documentation.
    `hint` is the one thing to do next, if there is one.
    `details` are further lines that belong to the message: a list of problems, a build log.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        reference: str,
        hint: str | None = None,
        details: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reference = reference
        self.hint = hint
        self.details = details


class UsageError(PypmError):
    """The command line asks for something that cannot be meant."""

    exit_code = 2


class ConfigurationError(PypmError):
    """`pyproject.toml` or a configuration file is malformed; `details` name every problem by its path."""


class ResolutionError(PypmError):
    """No set of versions satisfies the requirements; `details` hold the derivation."""


class IndexAccessError(PypmError):
    """An index could not be reached or answered with something that is not an index page."""


class LockError(PypmError):
    """The lock is missing, stale, of a newer format, or not readable as a lock."""


class InterpreterError(PypmError):
    """No Python interpreter on this machine fits what the project asks for."""


class BuildError(PypmError):
    """A source distribution or the project itself could not be built; `details` hold the end of the log."""


class PluginError(PypmError):
    """A plugin is missing, wants what it was not granted, misbehaved, or ended the command on purpose."""


class StorageError(PypmError):
    """The disk refused: no space, read-only, no permission, an I/O error."""


class IsolationError(PypmError):
    """The sandbox could not be made as the policy requires; nothing was run."""

    exit_code = 125


class IntegrityError(PypmError):
    """Bytes are not those that were locked: a hash, size, RECORD, Merkle root or signature does not fit."""

    exit_code = 3


class InternalError(PypmError):
    """A bug of ours: a state that the code believed to be impossible."""

    exit_code = 70


def is_interrupt(error: BaseException) -> bool:
    """Whether this is Ctrl-C, or what Python made of it.

    Before 3.12, an exception in `__set_name__` (a class body with a `cached_property` is enough) comes out as
    a RuntimeError that it is the cause of.
    """
    return isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__, KeyboardInterrupt)

"""Failures of the sandbox, told as errors of pypm."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from pypm.errors import IsolationError
from sandbox import SandboxError, SetupError


@contextmanager
def isolation_errors() -> Iterator[None]:
    """Translate whatever the sandbox raises in the block.

    Raises: IsolationError: the policy is refused, the host cannot give it, or setting it up failed.
    """
    try:
        yield
    except SandboxError as error:
        raise isolation_error(error) from error


def isolation_error(error: SandboxError) -> IsolationError:
    """Return what is told of a sandbox that could not be made."""
    return IsolationError(error.message, reference=error.reference, hint=_hint(error), details=error.details)


_DENIED_STAGES = ("clone", "map_ids", "keyring", "hostname", "loopback", "root", "confine", "proc")
"""Where the set-up fails on a host that denies namespaces, or gives them without any right in them."""
_LESS = "or accept less by name: `--isolation landlock`, or `PYPM_ISOLATION=landlock` for every command"

_READ_ONLY = (
    "`--read-only` runs in a project that cannot be written, if it has a folder `.venv`, which may be empty"
)


def _hint(error: SandboxError) -> str | None:
    """The mend, and where the host denies namespaces what else there is."""
    if isinstance(error, SetupError) and error.stage == "placeholders" and error.errno == errno.EROFS:
        return _READ_ONLY
    if not isinstance(error, SetupError) or error.stage.partition(" ")[0] not in _DENIED_STAGES:
        return error.hint
    return f"{error.hint};\n{_LESS}" if error.hint else _LESS

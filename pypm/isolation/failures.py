"""Failures of the sandbox, told as errors of pypm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pypm.errors import IsolationError
from sandbox import SandboxError


@contextmanager
def isolation_errors() -> Iterator[None]:
    """Translate whatever the sandbox raises in the block.

    Raises: IsolationError: the policy is refused, the host cannot give it, or setting it up failed.
    """
    try:
        yield
    except SandboxError as error:
        raise IsolationError(
            error.message, reference=error.reference, hint=error.hint, details=error.details
        ) from error

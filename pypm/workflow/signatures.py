"""Signed locks: verified before anything of them is used, wherever a command reads one.

Who may sign is said by the project. Where the user's configuration says it (`allowed-signers` in pypm.toml,
or `PYPM_ALLOWED_SIGNERS`), that alone counts and a signature is always required: a change to the project can
then not choose its own judge.
"""

from __future__ import annotations

from pathlib import Path

from pypm.files import storage_errors, write_atomically
from pypm.paths import signature_file
from pypm.regular import read_regular
from pypm.signing import (
    Signing,
    project_signing,
    sign,
    signing_by_file,
    verify_integrity,
    verify_signature,
)
from pypm.workflow.context import Context


def signing_of(context: Context) -> Signing:
    """Return what is asked of the lock's signature.

    Raises:
        ConfigurationError: `[tool.pypm.signing]` is malformed.
        StorageError: the allowed signers cannot be read.
    """
    if context.settings.allowed_signers is not None:
        return signing_by_file(context.settings.allowed_signers, required=True)
    return project_signing(context.project)


def require_signature(context: Context, content: bytes) -> None:
    """Refuse these bytes of the lock unless they are signed as required.

    Raises:
        IntegrityError: the signature is missing, stale, foreign or expired.
        ConfigurationError: it cannot be verified on this machine.
    """
    signing = signing_of(context)
    if signing.required:
        verify_signature(content, _signature(context), signing, root=context.root)


def signer(context: Context, content: bytes) -> str | None:
    """Return who signed the lock; None where nobody did, or where nothing says who may.

    A signature is verified also where none is required.

    Raises:
        IntegrityError: it is not over this lock, or foreign, or expired.
        ConfigurationError: it cannot be verified on this machine.
    """
    signing, signature = signing_of(context), _signature(context)
    if signature is None and not signing.required:
        return None
    if signature is not None and signing.signers is None:
        verify_integrity(content, signature, root=context.root)
        return None
    return verify_signature(content, signature, signing, root=context.root)


def signed(context: Context, content: bytes, key: Path | None) -> bytes:
    """Return the signature over the bytes of a lock that is about to be written."""
    return sign(content, key, root=context.root, home=context.home)


def write_signature(context: Context, signature: bytes) -> None:
    """Put the signature beside the lock."""
    write_atomically(signature_file(context.root), signature)


def files_of(context: Context) -> tuple[Path, ...] | None:
    """Return the files that decide whose word counts; None when the calendar decides as well.

    Also where no signature of the lock is required: the wheels that another machine built are taken on the
    word of the same people.
    """
    signing = signing_of(context)
    if signing.may_expire:
        return None
    listed = () if signing.signers_file is None else (signing.signers_file,)
    return (signature_file(context.root), *listed) if signing.required else listed


def _signature(context: Context) -> bytes | None:
    path = signature_file(context.root)
    with storage_errors(f"read `{path}`"):
        try:
            return read_regular(path)
        except FileNotFoundError:
            return None

"""Signatures of locks, by the keys that people sign commits with: SSHSIG, made and verified by `ssh-keygen`.

`ssh-keygen` is the tool that owns this format, knows agents and hardware keys, and is on most machines. It is
never taken from the project's own folder, where a package could have brought one that finds everything right.

Source: ssh-keygen(1), ALLOWED SIGNERS; OpenSSH's PROTOCOL.sshsig.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pypm.codec.shape import Problems, Table
from pypm.errors import ConfigurationError, IntegrityError, UsageError
from pypm.files import storage_errors
from pypm.model.project import Project
from pypm.paths import LOCK_FILE, PROJECT_FILE, SIGNATURE_FILE
from pypm.programs import find_program
from pypm.regular import read_regular

NAMESPACE = "pypm-lock"
"""Keeps a signature over something else from passing as one over a lock."""

BUILD_NAMESPACE = "pypm-build"
"""Of the records of builds: a machine that builds need not be one whose locks count, nor the reverse."""

_TIMEOUT_SECONDS = 60
_DEFAULT_KEYS = ("id_ed25519", "id_ed25519_sk", "id_ecdsa", "id_ecdsa_sk", "id_rsa")
_MAY_EXPIRE = re.compile(rb"valid-before|cert-authority")
_SIGN_AGAIN = "whoever may sign runs `pypm lock --sign`, after looking at what changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """What is asked of the signature of a lock."""

    required: bool = False
    signers: bytes | None = None
    """An allowed-signers file's content; None where nobody is named."""
    signers_file: Path | None = None
    """Where it was read, if from a file."""

    @property
    def may_expire(self) -> bool:
        """Whether a signature that is good now may be refused later without any file having changed."""
        return self.signers is not None and bool(_MAY_EXPIRE.search(self.signers))


def project_signing(project: Project) -> Signing:
    """Return what `[tool.pypm.signing]` says.

    Raises:
        ConfigurationError: it is malformed, or requires a signature without saying whose.
        StorageError: the file of allowed signers cannot be read.
    """
    problems = Problems(PROJECT_FILE)
    table = Table(project.tool, "tool.pypm", problems).table("signing")
    table.close(("required", "allowed-signers"))
    required = table.get("required", bool, False)
    inline = type(table.values.get("allowed-signers")) is list
    lines = [text for _, text in table.texts("allowed-signers")] if inline else []
    name = None if inline else table.text("allowed-signers")
    if required and not lines and not name:
        table.add("allowed-signers", "is missing: say who may sign the lock")
    problems.raise_if_any()
    if name:
        return signing_by_file(project.root / name, required=required)
    signers = "".join(f"{line}\n" for line in lines).encode("utf-8") if lines else None
    return Signing(required=required, signers=signers)


def signing_by_file(path: Path, *, required: bool) -> Signing:
    """Return what is asked when the allowed signers are in a file.

    Raises:
        StorageError: it cannot be read.
    """
    with storage_errors(f"read the allowed signers in `{path}`"):
        return Signing(required=required, signers=read_regular(path), signers_file=path)


def verify_signature(content: bytes, signature: bytes | None, signing: Signing, *, root: Path) -> str:
    """Return who signed these bytes of a lock; `root` is the project's folder.

    Raises:
        IntegrityError: the signature is missing, stale, by nobody who may sign, or by a key that expired.
        ConfigurationError: there is no `ssh-keygen` on this machine.
    """
    if signature is None:
        raise IntegrityError(
            f"`{LOCK_FILE}` is not signed, and the project requires that",
            reference="signature-missing",
            hint=f"`{SIGNATURE_FILE}` belongs to the lock; {_SIGN_AGAIN}",
        )
    program = _program(root)
    with _files(signature=signature, signers=signing.signers or b"") as folder:
        common = ["-s", f"{folder}/signature", "-f", f"{folder}/signers"]
        found = _run(program, "find-principals", *common)
        said = found.stderr
        for principal in found.stdout.decode("utf-8", "replace").splitlines():
            done = _run(program, "verify", *common, "-n", NAMESPACE, "-I", principal, content=content)
            if done.returncode == 0:
                return principal
            said = done.stderr or done.stdout
        _require_fitting(program, f"{folder}/signature", content)
    expired = b"expired" in said or b"not yet valid" in said
    raise IntegrityError(
        f"the signature of `{LOCK_FILE}` is by "
        + ("a key that is not valid now" if expired else "nobody who may sign it"),
        reference="signature-expired" if expired else "signature-foreign",
        hint=f"`allowed-signers` names who may sign; {_SIGN_AGAIN}",
        details=tuple(said.decode("utf-8", "replace").replace(f"{folder}/", "").splitlines()),
    )


def verify_integrity(content: bytes, signature: bytes, *, root: Path) -> None:
    """Check that a signature is over these bytes, whoever made it.

    Raises:
        IntegrityError: it is not.
        ConfigurationError: there is no `ssh-keygen` on this machine.
    """
    with _files(signature=signature) as folder:
        _require_fitting(_program(root), f"{folder}/signature", content)


def who_signed(content: bytes, signature: bytes, signers: bytes, *, namespace: str, root: Path) -> str | None:
    """Return who of the allowed signers made a signature over these bytes for this use; None for nobody.

    None stands for a foreign, a stale, a cut off and an expired signature alike.

    Raises:
        ConfigurationError: there is no `ssh-keygen` on this machine.
    """
    program = _program(root)
    with _files(signature=signature, signers=signers) as folder:
        common = ["-s", f"{folder}/signature", "-f", f"{folder}/signers"]
        found = _run(program, "find-principals", *common)
        for principal in found.stdout.decode("utf-8", "replace").splitlines():
            done = _run(program, "verify", *common, "-n", namespace, "-I", principal, content=content)
            if done.returncode == 0:
                return principal
    return None


def sign_unasked(content: bytes, key: Path, *, namespace: str, root: Path) -> bytes:
    """Return a signature that is made in the middle of other work: with no question and no terminal.

    `key` is a private key without a passphrase, or a public one whose private key an agent holds.

    Raises:
        ConfigurationError: there is no `ssh-keygen` on this machine, or it cannot sign with the key.
    """
    argv = [_program(root), "-q", "-Y", "sign", "-n", namespace, "-f", os.fspath(key)]
    silent = {"PATH": os.defpath, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}
    if "SSH_AUTH_SOCK" in os.environ:
        silent["SSH_AUTH_SOCK"] = os.environ["SSH_AUTH_SOCK"]
    try:
        done = subprocess.run(
            argv,
            input=content,
            capture_output=True,
            check=False,
            env=silent,
            start_new_session=True,  # Without a terminal there is nobody to ask for a passphrase.
            timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        done = subprocess.CompletedProcess(argv, 1, b"", b"it took too long")
    hint = "give a private key without a passphrase, or a public one whose private key the agent holds"
    return _signature(done, f"`{key}` unasked", hint)


def sign(content: bytes, key: Path | None, *, root: Path, home: Path) -> bytes:
    """Return the signature over the bytes of a lock.

    `key` is a private key, or a public one whose private key an agent holds; without it, the key that git
    signs with, or the user's first usual one. May ask for a passphrase on the terminal.

    Raises:
        UsageError: there is no such key.
        ConfigurationError: there is no `ssh-keygen` on this machine, or it cannot sign with the key.
    """
    program = _program(root)
    with _chosen_key(key, root, home) as chosen:
        argv = [program, "-q", "-Y", "sign", "-n", NAMESPACE, "-f", os.fspath(chosen)]
        done = subprocess.run(argv, input=content, capture_output=True, check=False)
    hint = "give a private key, or a public one whose private key the agent holds: `--key FILE`"
    return _signature(done, f"`{chosen}`", hint)


def _signature(done: subprocess.CompletedProcess[bytes], key: str, hint: str) -> bytes:
    """Return what `ssh-keygen` has made, or say why it has not."""
    if done.returncode != 0 or b"BEGIN SSH SIGNATURE" not in done.stdout:
        raise ConfigurationError(
            f"`ssh-keygen` cannot sign with {key}",
            reference="signing-failed",
            hint=hint,
            details=tuple(done.stderr.decode("utf-8", "replace").splitlines()),
        )
    return done.stdout


@contextmanager
def _chosen_key(key: Path | None, root: Path, home: Path) -> Iterator[Path]:
    if key is not None:
        if not key.is_file():
            raise UsageError(f"there is no key `{key}`", reference="no-such-file")
        yield key
        return
    configured = _git_key(root)
    if configured.startswith(("key::", "ssh-", "ecdsa-", "sk-")):
        with _files(key=configured.removeprefix("key::").encode() + b"\n") as folder:
            yield folder / "key"
        return
    usual = [Path(configured.replace("~", str(home), 1))] if configured else []
    usual += [home / ".ssh" / name for name in _DEFAULT_KEYS]
    for path in usual:
        if path.is_file():
            yield path
            return
    raise UsageError(
        f"there is no key to sign with in `{home / '.ssh'}`",
        reference="no-signing-key",
        hint="name one with `--key FILE`, or make one with `ssh-keygen -t ed25519`",
    )


def _git_key(root: Path) -> str:
    """Return the key that the user has git sign with, when that is an SSH key; never what a project says."""
    git = find_program("git", root)
    if git is None:
        return ""
    values = []
    for name in ("gpg.format", "user.signingkey"):
        argv = [git, "config", "--global", "--get", name]
        done = subprocess.run(argv, capture_output=True, check=False, timeout=_TIMEOUT_SECONDS)
        values.append(done.stdout.decode("utf-8", "replace").strip())
    return values[1] if values[0] == "ssh" else ""


def _require_fitting(program: str, signature: str, content: bytes) -> None:
    done = _run(program, "check-novalidate", "-n", NAMESPACE, "-s", signature, content=content)
    if done.returncode != 0:
        raise IntegrityError(
            f"the signature in `{SIGNATURE_FILE}` is not over this `{LOCK_FILE}`: one of them was changed",
            reference="signature-stale",
            hint=f"restore both from version control; or {_SIGN_AGAIN}",
        )


def _run(
    program: str, action: str, *arguments: str, content: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    argv = [program, "-Y", action, *arguments]
    environment = {"PATH": os.defpath, "LC_ALL": "C"}
    return subprocess.run(
        argv, input=content, capture_output=True, check=False, env=environment, timeout=_TIMEOUT_SECONDS
    )


def _program(root: Path) -> str:
    found = find_program("ssh-keygen", root)
    if found is None:
        raise ConfigurationError(
            "signatures of locks need `ssh-keygen`, and this machine has none",
            reference="no-ssh-keygen",
            hint="install OpenSSH's client (`openssh-client` on Debian and Ubuntu)",
        )
    return found


@contextmanager
def _files(**contents: bytes) -> Iterator[Path]:
    """Put contents into files of a private folder for the block: `ssh-keygen` reads files only."""
    with tempfile.TemporaryDirectory(prefix="pypm-sign-") as name:
        folder = Path(name)
        for file_name, content in contents.items():
            (folder / file_name).write_bytes(content)
        yield folder

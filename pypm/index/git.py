"""Commits of git repositories, as source trees in the cache.

git runs with nothing of the user's or the machine's configuration, without hooks, templates, credential
helpers or prompts, without submodules, and speaks only the protocols that the address itself may name. What
arrives is checked object by object (`fetch.fsckObjects`), and a tree lies under the name of its commit, so
that the same commit is fetched once and a lock that names one means the same files everywhere.

Source: git(1), `GIT_ALLOW_PROTOCOL`; git-config(1), `protocol.allow`, `fetch.fsckObjects`, `core.hooksPath`.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from msgspec.structs import replace

from pypm.codec.simple import redact
from pypm.errors import ConfigurationError, IndexAccessError, IntegrityError
from pypm.files import remove_tree, storage_errors
from pypm.model.project import VcsSource
from pypm.programs import find_program, folders_on_path

COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
"""A full object name: SHA-1, or SHA-256 in repositories of the newer format."""

_PROTOCOLS = ("https", "ssh", "file")
"""Neither `http` and `git`, which anybody on the way can answer, nor `ext`, which runs a program."""

_TIMEOUT_SECONDS = 600.0
_AUTHORITIES = {"SSL_CERT_FILE": "GIT_SSL_CAINFO", "SSL_CERT_DIR": "GIT_SSL_CAPATH"}
"""What names the authorities to us, and what git calls it: a git with GnuTLS knows its own names alone."""
_KEPT_VARIABLES = (
    *_AUTHORITIES,
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
)
_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.askPass": "true",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "credential.helper": "",
    "fetch.fsckObjects": "true",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    "protocol.version": "2",
    "http.followRedirects": "initial",
    "advice.detachedHead": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "safe.directory": "*",
}


class Repositories:
    """Fetches commits into a folder of the cache. Safe to use from several threads and processes."""

    def __init__(
        self,
        folder: Path,
        *,
        offline: bool,
        locked: Mapping[VcsSource, str] | None = None,
        outside: Path | None = None,
    ) -> None:
        """`locked` holds the commits that stay: by source, as `bare` gives it. `outside` is the
        project, whose programs are never run as git or for it."""
        self._folder = folder
        self._outside = outside
        self._offline = offline
        self._locked = locked or {}

    def pinned(self, source: VcsSource) -> VcsSource:
        """Return the source with its commit: the one that is locked, or what its revision means now.

        Raises:
            ConfigurationError: the address is not one of a repository that may be used.
            IndexAccessError: the repository cannot be read, or has no such revision.
        """
        _protocol(source.url)
        commit = source.commit or self._locked.get(bare(source))
        if commit is None and source.revision is not None and COMMIT.fullmatch(source.revision):
            commit = source.revision
        return replace(source, commit=commit or self._look_up(source))

    def tree(self, source: VcsSource) -> Path:
        """Return the folder that holds the files of a pinned source; fetched when it is not there.

        Raises:
            ConfigurationError: the address may not be used, or the subdirectory leads nowhere.
            IndexAccessError: the repository cannot be read, or does not have the commit.
            IntegrityError: what arrived is not the commit.
            StorageError: the disk refused.
        """
        assert source.commit is not None, "only pinned sources have a tree"
        place = self._place(source.url, source.commit)
        if not place.is_dir():
            self._fetch(source.url, source.commit, place)
        tree = place / source.subdirectory if source.subdirectory else place
        if not tree.is_dir() or not tree.resolve().is_relative_to(place.resolve()):
            raise ConfigurationError(
                f"`{redact(source.url)}` has no folder `{source.subdirectory}` at {source.commit[:12]}",
                reference="source-missing",
                hint="check `subdirectory` of the source",
            )
        return tree

    def _place(self, url: str, commit: str) -> Path:
        return self._folder / sha256(_address(url).encode()).hexdigest()[:16] / commit

    def _look_up(self, source: VcsSource) -> str:
        wanted = source.revision or "HEAD"
        said = self._git(source.url, "ls-remote", "--quiet", "--", _address(source.url))
        found: dict[str, str] = {}
        for line in said.splitlines():
            commit, _, name = line.partition("\t")
            if COMMIT.fullmatch(commit):
                found[name] = commit
        # A tag with a message is an object of its own; `^{}` is the commit that it stands for.
        names = (f"refs/tags/{wanted}^{{}}", f"refs/tags/{wanted}", f"refs/heads/{wanted}", wanted)
        for name in names:
            if name in found:
                return found[name]
        raise IndexAccessError(
            f"`{redact(source.url)}` has no branch, tag or commit `{wanted}`",
            reference="git-revision-missing",
            hint="check `rev`, `tag` or `branch` of the source; a commit is named in full, by 40 digits",
        )

    def _fetch(self, url: str, commit: str, place: Path) -> None:
        staging = place.with_name(f".{commit[:12]}.{secrets.token_hex(4)}.tmp")
        with storage_errors(f"make `{staging}`"):
            staging.mkdir(parents=True)
        try:
            form = "sha256" if len(commit) == 64 else "sha1"
            self._git(url, "init", "--quiet", "--template=", f"--object-format={form}", folder=staging)
            everything = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
            fetch = ("fetch", "--quiet", "--no-recurse-submodules", "--no-write-fetch-head", "--")
            self._git(url, *fetch, _address(url), *everything, folder=staging)
            if not self._has(url, commit, staging):
                # No branch leads to it (any more): some servers give it when it is asked for by name.
                self._git(url, *fetch, _address(url), commit, folder=staging)
            if not self._has(url, commit, staging):
                raise IndexAccessError(
                    f"`{redact(url)}` does not have the commit {commit}",
                    reference="git-revision-missing",
                    hint="`pypm lock --upgrade-package NAME` locks the present one",
                )
            self._git(url, "checkout", "--quiet", "--detach", commit, folder=staging)
            head = self._git(url, "rev-parse", "HEAD", folder=staging).strip()
            if head != commit or self._git(url, "status", "--porcelain", folder=staging).strip():
                raise IntegrityError(
                    f"the files of `{redact(url)}` are not those of the commit {commit}",
                    reference="git-commit-mismatch",
                )
            with storage_errors(f"make `{place}`"):
                try:
                    staging.rename(place)
                except OSError:
                    if not place.is_dir():  # Somebody else fetched it meanwhile: that one is as good.
                        raise
        finally:
            remove_tree(staging)

    def _has(self, url: str, commit: str, folder: Path) -> bool:
        try:
            kind = self._git(url, "cat-file", "-t", commit, folder=folder)
        except IndexAccessError:
            return False
        return kind.strip() == "commit"

    def _git(self, url: str, command: str, *arguments: str, folder: Path | None = None) -> str:
        needs_network = command in ("ls-remote", "fetch")
        protocol = _protocol(url)
        if needs_network and self._offline and protocol != "file":
            raise IndexAccessError(
                f"`{redact(url)}` is needed, and the network is off (`--offline`)",
                reference="offline",
                hint="leave out `--offline`",
            )
        settings = [word for key, value in _SETTINGS.items() for word in ("-c", f"{key}={value}")]
        program = find_program("git", self._outside)
        if program is None:
            raise ConfigurationError(
                f"`git` is needed for `{redact(url)}`, and it is not installed",
                reference="git-missing",
                hint="install git",
            )
        argv = [program, *settings, command, *arguments]
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(
                argv,
                check=False,
                cwd=folder or self._folder,
                env=_environment(
                    protocol, folder, self._folder, os.pathsep.join(folders_on_path(self._outside))
                ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise IndexAccessError(
                f"`{redact(url)}` did not answer within {_TIMEOUT_SECONDS:.0f} s", reference="git-failed"
            ) from error
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise IndexAccessError(
                f"the repository `{redact(url)}` could not be read",
                reference="git-failed",
                hint="check the address, and that you may read it",
                details=tuple(line[:300] for line in said[-6:]),
            )
        return done.stdout.decode(errors="replace")


def bare(source: VcsSource) -> VcsSource:
    """Return what is asked for, without the condition and without the answer."""
    return replace(source, commit=None, marker=None)


def _environment(protocol: str, folder: Path | None, home: Path, path: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    kept |= {theirs: os.environ[ours] for ours, theirs in _AUTHORITIES.items() if os.environ.get(ours)}
    if protocol == "ssh":
        # The user's own keys and known hosts are what this protocol is for.
        kept |= {name: os.environ[name] for name in ("HOME", "SSH_AUTH_SOCK") if name in os.environ}
    else:
        kept["HOME"] = str(home)
    return {
        **kept,
        "PATH": path,
        "LC_ALL": "C",
        "GIT_ALLOW_PROTOCOL": protocol,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
        "GIT_CEILING_DIRECTORIES": str(home if folder is None else folder.parent),
        "GIT_LFS_SKIP_SMUDGE": "1",
    }


def _address(url: str) -> str:
    """Return the address without what pip's form of it carries besides."""
    return url.removeprefix("git+").partition("#")[0]


def _protocol(url: str) -> str:
    address = _address(url)
    try:
        scheme = urlsplit(address).scheme.lower()
    except ValueError:  # for instance a bracket in the host's place
        scheme = ""
    if address.startswith(("-", " ")) or scheme not in _PROTOCOLS:
        raise ConfigurationError(
            f"`{redact(url)}` is not the address of a git repository that may be used",
            reference="git-address",
            hint=f"write it with one of {', '.join(f'`{name}://`' for name in _PROTOCOLS)}",
        )
    return scheme

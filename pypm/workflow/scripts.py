"""Scripts that bring their own requirements (PEP 723): resolved without a lock file, run like a project.

What the requirements came to is remembered in the cache for a day, so that a script starts at once and
without the network the next time; its wheels and its environment are found by their content as always.
"""

from __future__ import annotations

import dataclasses
import time
from functools import cached_property
from pathlib import Path

from msgspec.structs import replace

from pypm.codec.lockfile import dump_lock, load_lock
from pypm.codec.pyproject import content_hash
from pypm.codec.script import parse_script
from pypm.digest import content_digest
from pypm.errors import IntegrityError, PypmError, UsageError
from pypm.files import storage_errors, write_atomically
from pypm.model.lock import Lock
from pypm.model.project import Project
from pypm.paths import find_project_root, is_foreign
from pypm.regular import read_regular
from pypm.workflow.context import Context

_LOCATION = Path("/run/pypm/script")
"""Where the environment appears inside: there is none on disk, so one place serves all scripts."""
_REMEMBERED_SECONDS = 86_400
"""Then newer versions that fit are looked for."""


class ScriptContext(Context):
    """The context of one script: relative paths in its metadata start at its folder."""

    def __init__(self, context: Context, path: Path) -> None:
        self.path = path.resolve()
        """Behind all links: the place that the sandbox shows."""
        super().__init__(
            dataclasses.replace(context.settings, root=self.path.parent, foreign_root=None), context.reporter
        )
        self.without_grants = context.without_grants

    def __enter__(self) -> ScriptContext:
        return self

    @cached_property
    def project(self) -> Project:
        """What the script asks for, as a project that is never installed.

        Raises:
            ConfigurationError: its metadata is malformed.
        """
        with storage_errors(f"read `{self.path}`"):
            content = read_regular(self.path)
        return self._with_settings(parse_script(content, path=self.path))

    @property
    def location(self) -> Path:
        """Where the environment appears."""
        return _LOCATION

    @cached_property
    def shown_project(self) -> Project | None:
        """The project that the script lies in, seen as any run of it sees it; None for a script in none.

        A folder that is no project is not shown for the script's sake: besides it there may be other projects
        with all that runs outside of them, programs that the user's `PATH` finds, or everybody's files.
        """
        root = find_project_root(self.root)
        if root is None or is_foreign(str(root), str(self.root)):
            return None
        if self.home.resolve().is_relative_to(root.resolve()):
            return None
        return replace(self.project, root=root)

    @property
    def own_folder(self) -> Path | None:
        """The project that the script lies in."""
        return None if self.shown_project is None else self.shown_project.root

    @property
    def shown_files(self) -> tuple[Path, ...]:
        """The script itself, where no project is shown."""
        return (self.path,) if self.shown_project is None else ()

    def lock(self) -> Lock:
        """Return what the requirements resolve to: what they did lately, or resolved now.

        Raises:
            ResolutionError: nothing satisfies the requirements.
            IndexAccessError: an index could not be asked.
        """
        indexes = [index.url for index in self.indexes]
        key = content_digest([1, content_hash(self.project), str(self.root), indexes])
        path = self.cache.scripts / f"{key}.lock"
        remembered = self._remembered(path)
        if remembered is not None:
            return remembered
        from pypm.workflow.lock import LockRequest
        from pypm.workflow.resolving import resolved

        lock = resolved(self, LockRequest(), None)
        with storage_errors(f"make `{path.parent}`"):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, dump_lock(lock))
        return lock

    def _remembered(self, path: Path) -> Lock | None:
        try:
            age_seconds = time.time() - path.stat().st_mtime
            if age_seconds > _REMEMBERED_SECONDS and not self.settings.offline:
                return None
            return load_lock(read_regular(path), file_name=path.name)
        except (OSError, PypmError):
            return None  # Whatever is wrong with it, it is made anew.


def open_script(context: Context, path: Path) -> ScriptContext:
    """Return the context of a script; use it as a context manager."""
    return ScriptContext(context, path)


def require_no_lock(script: str, *, locked: bool, frozen: bool) -> None:
    """Refuse flags that speak of a lock.

    Raises:
        UsageError: one of them was given.
    """
    if locked or frozen:
        flag = "--locked" if locked else "--frozen"
        raise UsageError(
            f"`{script}` brings its own requirements (PEP 723) and has no lock, so `{flag}` means nothing",
            reference="script-without-lock",
            hint=f"leave `{flag}` out; an exact set of versions needs a project",
        )


def require_no_signature(context: Context, script: str) -> None:
    """Refuse a script on a machine whose user lets nothing in that is not signed.

    Raises:
        IntegrityError: the user, not the project, says who may sign.
    """
    if context.settings.allowed_signers is not None:
        raise IntegrityError(
            f"`{script}` brings its own requirements (PEP 723), and no lock that somebody could have signed",
            reference="script-not-signed",
            hint="your own settings name `allowed-signers`: what a script needs belongs into a signed lock",
        )

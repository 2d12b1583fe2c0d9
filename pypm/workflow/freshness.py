"""What on disk a prepared environment was made from: while it stays the same, a ready plan holds."""

from __future__ import annotations

from pathlib import Path

from pypm.codec.lockfile import dump_lock
from pypm.model.lock import Lock
from pypm.paths import environment_folder, lock_file, project_file
from pypm.regular import read_regular
from pypm.workflow import plans
from pypm.workflow.context import Context
from pypm.workflow.prepare import Prepared
from pypm.workflow.signatures import files_of

_VERSION_PIN = ".python-version"
_CLOCK_GRAIN_NS = 20_000_000
"""File systems stamp with the kernel's coarse clock, which lags by up to a tick (CONFIG_HZ=100: 10 ms)."""


def facts_of(context: Context, prepared: Prepared, *, of_environment: bool = True) -> plans.Facts | None:
    """Return everything on disk that decides whether the environment would come out the same.

    None when some of it changed while this command was at work: what it had read may be the old content,
    and a plan would hold it for that of the new. With `of_environment`, whether there is a `.venv` decides,
    too.
    """
    root, environment = context.root, prepared.environment
    signature_files = files_of(context)
    if signature_files is None:
        return None
    read = [project_file(root), root / _VERSION_PIN, *context.settings.files, *signature_files]
    read.append(environment.interpreter.executable)
    if context.project.sandbox:
        read.append(context.consents_file)
    if context.project.tool.get("plugins"):
        from pypm.workflow.plugins import deciding_files

        read += deciding_files(context)
    trees = [wheel.tree for wheel in environment.installed]
    built = prepared.selection.project and context.project.is_package
    roots = [*prepared.trees, *([root] if built else [])]
    if roots:
        from pypm.build.project import watched_files

        for tree in roots:
            read += watched_files(tree)
    if any(_changed_since(path, context.started_ns) for path in read):
        return None
    lock = plans.file_facts([str(lock_file(root))])
    # The lock may be new because this command wrote it.
    if _changed_since(lock_file(root), context.started_ns) and not _holds(lock_file(root), prepared.lock):
        return None
    kinds = (environment.base, *trees, root / ".git")
    if of_environment:
        kinds += (environment_folder(root),)
    return plans.Facts(
        files=(*lock, *plans.file_facts(map(str, read))),
        kinds=plans.kind_facts(map(str, kinds)),
        listings=plans.listing_facts(map(str, roots)),
    )


def _changed_since(path: Path, moment_ns: int) -> bool:
    """Whether a file was written, replaced or moved in after this moment: all of that sets its ctime."""
    try:
        return path.stat().st_ctime_ns >= moment_ns - _CLOCK_GRAIN_NS
    except OSError:
        return False


def _holds(path: Path, lock: Lock) -> bool:
    try:
        return read_regular(path) == dump_lock(lock)
    except OSError:
        return False

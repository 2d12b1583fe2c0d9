"""What on disk a prepared environment was made from: while it stays the same, a ready plan holds."""

from __future__ import annotations

from pathlib import Path

from pypm.build.project import watched_files
from pypm.paths import environment_folder, lock_file, project_file
from pypm.workflow import plans
from pypm.workflow.context import Context
from pypm.workflow.prepare import Prepared

_VERSION_PIN = ".python-version"


def facts_of(context: Context, prepared: Prepared, *, written: tuple[Path, ...] = ()) -> plans.Facts:
    """Return everything on disk that decides whether the environment would come out the same.

    `written` are files of the environment on disk, for whoever says that it is as locked.
    """
    root, environment = context.root, prepared.environment
    read = [project_file(root), lock_file(root), root / _VERSION_PIN, *context.settings.files, *written]
    read.append(environment.interpreter.executable)
    trees = [wheel.tree for wheel in (*environment.project_layers, *environment.wheels)]
    built = prepared.selection.project and context.project.is_package
    roots = [*prepared.trees, *([root] if built else [])]
    for tree in roots:
        read += watched_files(tree)
    kinds = (environment.base, *trees, root / ".git", environment_folder(root))
    return plans.Facts(
        files=plans.file_facts(map(str, read)),
        kinds=plans.kind_facts(map(str, kinds)),
        listings=plans.listing_facts(map(str, roots)),
    )

"""Packages that bring code which runs without being asked for need the user's word.

A `.pth` file, `sitecustomize` and `usercustomize` run at every start of the interpreter, and a program named
like a tool of the system runs in its stead once the environment is active. In a build's environment, which
exists inside the sandbox only, they are let be; in the project's own each such package is allowed by name.

Source: the documentation of `site`; CPython's Lib/site.py (`addpackage`) for what is run in a `.pth` file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from packaging.utils import NormalizedName

from pypm.codec.shape import Problems, Table
from pypm.errors import ConfigurationError
from pypm.files import storage_errors
from pypm.model.project import Project
from pypm.model.wheel import StoredWheel
from pypm.paths import PROJECT_FILE
from pypm.regular import read_regular

KEY = "allow-startup-code"


def allowed_names(project: Project) -> tuple[NormalizedName, ...]:
    """Return the packages that `[tool.pypm] allow-startup-code` names.

    Raises:
        ConfigurationError: it is not a list of package names.
    """
    problems = Problems(PROJECT_FILE)
    names = Table(project.tool, "tool.pypm", problems).names(KEY)
    problems.raise_if_any()
    return names


def announced(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the startup code among the files of a wheel that RECORD names.

    Programs of entry points are not among them: RECORD does not know those.
    """
    # Late: a sync reads no RECORD.
    from pypm.store.inside.layout import Scheme, find_wheel, place, startup_carrier
    from pypm.store.inside.refusal import Refusal

    paths = tuple(paths)
    any_python = Scheme("lib/python3/site-packages", "include/site/python3")
    try:
        wheel = find_wheel(paths)
        places = {path: place(path, wheel, any_python)[0] for path in paths}
    except Refusal:
        return ()  # Unpacking refuses it, too, and says why.
    return tuple(path for path, target in places.items() if startup_carrier(target, any_python))


def require_allowed(
    project: Project, wheels: Iterable[StoredWheel], editable: Iterable[StoredWheel]
) -> tuple[StoredWheel, ...]:
    """Refuse wheels with startup code that the project does not allow; return those that it allows.

    An editable wheel is a `.pth` file with the path of its source tree: it runs nothing if that is all.

    Raises:
        ConfigurationError: some are not allowed; `details` name their files.
    """
    carriers = [(wheel, wheel.startup_code) for wheel in wheels if wheel.startup_code]
    carriers += [(wheel, active) for wheel in editable if (active := _active(wheel))]
    if not carriers:
        return ()
    allowed = allowed_names(project)
    refused = [(wheel, paths) for wheel, paths in carriers if wheel.name not in allowed]
    if refused:
        names = sorted(wheel.name for wheel, _ in refused)
        listed = ", ".join(f'"{name}"' for name in sorted({*allowed, *names}))
        one = len(names) == 1
        raise ConfigurationError(
            f"{' and '.join(f'`{name}`' for name in names)} {'brings' if one else 'bring'} code that runs "
            f"without being asked for",
            reference="startup-code",
            hint=f"if you trust {'it' if one else 'them'}, write `{KEY} = [{listed}]` to `[tool.pypm]`",
            details=tuple(f"{wheel.name}: {path}" for wheel, paths in refused for path in paths),
        )
    return tuple(wheel for wheel, _ in carriers)


def _active(wheel: StoredWheel) -> tuple[str, ...]:
    """Return the startup code of an editable wheel, without `.pth` files that only add paths."""
    return tuple(path for path in wheel.startup_code if not _adds_paths_only(wheel.prefix / path))


def _adds_paths_only(path: Path) -> bool:
    if path.suffix.lower() != ".pth":
        return False
    with storage_errors(f"read `{path}`"):
        content = read_regular(path)
    try:
        # As `site` reads it: a byte order mark is dropped, and lines end wherever `splitlines` says.
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return False
    return not any(line.startswith(("import ", "import\t")) for line in lines)

"""The build system of a source tree: `[build-system]`, or the default that older trees mean.

Only this table is read. The rest of a foreign `pyproject.toml` is its backend's business, and trees with
tables that no checker would pass are built every day.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement

from pypm.codec.requirements import parse_requirement
from pypm.codec.toml import parse_toml
from pypm.errors import BuildError, ConfigurationError
from pypm.model.project import BuildSystem
from pypm.regular import read_regular

LEGACY_BACKEND = "setuptools.build_meta:__legacy__"
"""Runs `setup.py` with the tree on `sys.path`, as trees without a `[build-system]` expect (PEP 517)."""

_LARGEST_BYTES = 4 << 20
_BACKEND = re.compile(r"[A-Za-z_][\w.]*(?::[A-Za-z_][\w.]*)?")


def read_build_system(tree: Path, *, name: str) -> BuildSystem:
    """Return how the source tree wants to be built; `name` is what messages call it.

    Raises:
        BuildError: there is neither a `pyproject.toml` nor a `setup.py`, or the table is malformed.
    """
    content = read_regular_file(tree / "pyproject.toml")
    if content is None and read_regular_file(tree / "setup.py") is None:
        raise BuildError(
            f"`{name}` has neither a `pyproject.toml` nor a `setup.py`",
            reference="no-build-system",
            hint="check that it is a source tree of a Python package",
        )
    try:
        table = parse_toml(content or b"", file_name=f"{name}/pyproject.toml").get("build-system")
        return _legacy() if table is None else _parse(table, name=name)
    except ConfigurationError as error:
        raise BuildError(
            f"`{name}` cannot be built: {error.message}",
            reference="malformed-build-system",
            hint=error.hint,
            details=error.details,
        ) from error


def _legacy() -> BuildSystem:
    return BuildSystem(requires=(Requirement("setuptools>=40.8.0"),), backend=LEGACY_BACKEND)


def _parse(table: object, *, name: str) -> BuildSystem:
    if not isinstance(table, dict):
        raise _malformed(name, "build-system", "must be a table")
    requires = _texts(table.get("requires"), name, "build-system.requires")
    backend = table.get("build-backend", LEGACY_BACKEND)
    if not isinstance(backend, str) or not _BACKEND.fullmatch(backend):
        raise _malformed(name, "build-system.build-backend", "must be `module` or `module:object`")
    paths = _texts(table.get("backend-path", []), name, "build-system.backend-path")
    for path in paths:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise _malformed(name, "build-system.backend-path", f"must stay inside the tree, not `{path}`")
    return BuildSystem(
        requires=tuple(
            parse_requirement(text, where=f"build-system.requires[{index}]")
            for index, text in enumerate(requires)
        ),
        backend=backend,
        backend_path=paths,
    )


def _texts(value: object, name: str, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _malformed(name, where, "must be a list of text")
    return tuple(value)


def _malformed(name: str, where: str, problem: str) -> BuildError:
    return BuildError(
        f"`{name}` cannot be built: `{where}` {problem}",
        reference="malformed-build-system",
        hint="see the packaging guide on `[build-system]`",
    )


def read_regular_file(path: Path, *, largest_bytes: int = _LARGEST_BYTES) -> bytes | None:
    """Return the content of a file that foreign code may have made, or None where there is none.

    A link is not followed, a pipe is not waited for, a huge file is not loaded: outside the sandbox such a
    tree is looked at, never trusted.

    Raises:
        BuildError: something lies there that is no regular file of a sensible size.
    """
    try:
        return read_regular(path, largest_bytes=largest_bytes, follow=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        odd = error.errno in {errno.EINVAL, errno.EISDIR, errno.EFBIG}
        problem = f"is not a regular file of at most {largest_bytes} bytes"
        raise BuildError(
            f"`{path.name}` {problem if odd else f'cannot be read: {error.strerror}'}",
            reference="foreign-file",
        ) from error

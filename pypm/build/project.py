"""The project itself and path dependencies: how they are built, and when they must be built again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pypm.build.system import read_build_system, read_regular_file
from pypm.build.tree import SourceTree, copied_files
from pypm.codec.toml import parse_toml
from pypm.digest import Content, content_digest, sha256_file, sha256_hex
from pypm.errors import ConfigurationError
from pypm.files import storage_errors
from pypm.model.artifact import Sha256
from pypm.model.environment import Environment
from pypm.model.project import BuildSystem

KEY_FORMAT = 1
"""Raised whenever builds made before must not be used any more."""

_DESCRIPTIONS = (
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "MANIFEST.in",
    "hatch.toml",
    "pdm.toml",
    "Cargo.toml",
)
"""Files that backends read and that lie at the root; whatever changes in them may change the wheel."""

_VERSION_FILES = frozenset(
    {"__init__.py", "__about__.py", "__version__.py", "_version.py", "version.py", "VERSION"}
)
"""Where backends look for a dynamic version."""

_PACKAGE_FOLDERS = ("", "src", "lib", "python")
"""Folders below which top-level packages lie, by the conventions of the common backends."""

_LONGEST_README_BYTES = 4 << 20


def tree_place(root: Path, path: str) -> Path:
    """Return the folder that `path`, relative to the project in `root`, names, behind all links.

    A run may write its project, and so put a link to any other one in the place of a dependency that lies in
    it; the next build would copy that one, and the next run would see it.

    Raises: ConfigurationError: a path in the project leads out of it.
    """
    named = Path(os.path.normpath(root / path))
    real = (root / path).resolve()
    if named.is_relative_to(root) and not real.is_relative_to(root.resolve()):
        raise ConfigurationError(
            f"the dependency `{path}` in the project leads to `{real}`, outside of it",
            reference="source-leads-out",
            hint="name the destination itself as its `path`, if it is meant",
        )
    return real


def project_tree(root: Path, *, name: str, editable: bool) -> SourceTree:
    """Describe a working tree for the front end.

    An editable wheel points into the working tree, so its copy appears at the tree's real place; any other
    wheel is built at the fixed place, for the same bytes wherever the tree lies.

    Raises: BuildError: the tree does not say how it is built.
    """
    root = root.resolve()
    system = read_build_system(root, name=name)
    if editable:
        return SourceTree(name=name, root=root, system=system, location=root)
    return SourceTree(name=name, root=root, system=system)


def sdist_key(
    sdist: Sha256, environment: Environment, config_settings: Mapping[str, str | Sequence[str]] | None = None
) -> Sha256:
    """The name under which the wheel of an sdist is kept in `builds-v1`.

    Over everything that the build sees and that can differ: the sdist, the build requirements (their
    environment's digest), the interpreter, the platform, the settings. The machine's compiler and C library
    are left out: they are below what a lock can name, and a wheel that was built is not built anew for them.
    """
    return content_digest({"sdist": sdist, **_circumstances(environment, config_settings)})


def editable_key(
    source: SourceTree,
    environment: Environment,
    config_settings: Mapping[str, str | Sequence[str]] | None = None,
) -> Sha256:
    """The name under which the editable wheel of a working tree is kept in `builds-v1`.

    Modules are read from the tree itself, so editing one needs no build. What does: a change of the files
    that describe the project (metadata, entry points), of the readme, of the files that hold a dynamic
    version, of a backend that lies in the tree itself, of the set of top-level packages and modules (some
    backends map each of them), or of the place. A version taken from git's tags is not followed: it stays
    until one of these changes.

    Raises: StorageError: the tree cannot be read.
    """
    with storage_errors(f"read the source tree `{source.root}`"):
        content: dict[str, Content] = {
            "place": str(source.location),
            "described": dict(_descriptions(source.root)),
            "top-level": sorted(_top_level(source.root)),
            "versions": dict(_versions(source.root)),
        }
        if own := dict(_own_backend(source.root, source.system)):
            content["backend"] = own
    return content_digest({**content, **_circumstances(environment, config_settings)})


def tree_key(
    source: SourceTree,
    environment: Environment,
    config_settings: Mapping[str, str | Sequence[str]] | None = None,
) -> Sha256:
    """The name under which the wheel of a path dependency that is not editable is kept: over all its files.

    Raises: StorageError: the tree cannot be read.
    """
    files: dict[str, Content] = {path: sha256_file(source.root / path) for path in copied_files(source.root)}
    return content_digest({"files": files, **_circumstances(environment, config_settings)})


def _circumstances(
    environment: Environment, config_settings: Mapping[str, str | Sequence[str]] | None
) -> dict[str, Content]:
    return {
        "format": KEY_FORMAT,
        "requirements": environment.digest,
        "interpreter": environment.interpreter.identity,
        "platform": environment.interpreter.platform,
        "settings": {
            key: value if isinstance(value, str) else list(value)
            for key, value in (config_settings or {}).items()
        },
    }


def _descriptions(root: Path) -> Iterator[tuple[str, str]]:
    readmes = sorted(entry.name for entry in os.scandir(root) if entry.name.lower().startswith("readme"))
    for name in (*_DESCRIPTIONS, *readmes):
        if (root / name).is_file():
            content = read_regular_file((root / name).resolve(), largest_bytes=_LONGEST_README_BYTES)
            yield name, sha256_hex(content or b"")


def _top_level(root: Path) -> Iterator[str]:
    """Packages and modules as an import would find them, relative to the root."""
    for folder in _PACKAGE_FOLDERS:
        place = root / folder
        if not place.is_dir():
            continue
        with os.scandir(place) as entries:
            for entry in entries:
                is_package = entry.is_dir() and entry.name.isidentifier() and _holds_modules(Path(entry.path))
                if is_package or entry.name.endswith((".py", ".pth")):
                    yield f"{folder}/{entry.name}"


def _holds_modules(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(
            entry.name.endswith((".py", ".pyi", ".so")) or entry.name.isidentifier() for entry in entries
        )


def _has_static_version(root: Path) -> bool:
    """Whether `pyproject.toml` itself states the version: then no module can change it."""
    try:
        project = parse_toml(read_regular_file(root / "pyproject.toml") or b"", file_name="pyproject.toml")
    except ConfigurationError:
        return False
    table = project.get("project")
    return isinstance(table, dict) and isinstance(table.get("version"), str)


def _versions(root: Path) -> Iterator[tuple[str, str]]:
    if _has_static_version(root):
        return
    for folder in _PACKAGE_FOLDERS:
        place = root / folder
        if not place.is_dir():
            continue
        for package in sorted(place.iterdir()):
            candidates = [package] if package.name in _VERSION_FILES else []
            if package.name.isidentifier() and package.is_dir():
                candidates += [package / name for name in sorted(_VERSION_FILES)]
            for path in candidates:
                if path.is_file():
                    yield path.relative_to(root).as_posix(), sha256_file(path)


def _own_backend(root: Path, system: BuildSystem) -> Iterator[tuple[str, str]]:
    """The modules of a backend that is found by `backend-path`: its file, or all of its package."""
    module = system.backend.partition(":")[0].partition(".")[0]
    for folder in system.backend_path:
        place = root / folder
        for path in sorted((place / f"{module}.py", *(place / module).rglob("*.py"))):
            content = read_regular_file(path)
            if content is not None:
                yield path.relative_to(root).as_posix(), sha256_hex(content)


def watched_files(root: Path) -> tuple[Path, ...]:
    """Return the files of a working tree whose change may ask for another build; some may not exist.

    For whoever keeps a result and wants to know by their state alone whether it still holds. Besides them the
    set of top-level modules counts, see `editable_key`.
    """
    with storage_errors(f"read the source tree `{root}`"):
        versions = [root / path for path, _ in _versions(root)]
        readmes = [root / path for path, _ in _descriptions(root) if path not in _DESCRIPTIONS]
        backend = [root / path for path, _ in _own_backend(root, read_build_system(root, name=root.name))]
    return (*(root / name for name in _DESCRIPTIONS), *readmes, *versions, *backend)

"""`pyproject.toml` to a `Project`, and the digest of what it asks for.

Source: the pyproject.toml specification (PEP 518, 621, 639, 735).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from pypm.codec.canonical import content_hash
from pypm.codec.groups import parse_groups
from pypm.codec.settings import parse_settings
from pypm.codec.shape import Problems, Table, suggestion
from pypm.codec.toml import parse_toml
from pypm.errors import ConfigurationError
from pypm.model.project import BuildSystem, Project

__all__ = ["DEFAULT_REQUIRES_PYTHON", "content_hash", "parse_project", "parse_requires_python"]

DEFAULT_REQUIRES_PYTHON = SpecifierSet(">=3.10")
"""What a project that does not say is locked for: the Pythons that pypm itself supports. Taking the running
interpreter's version would give another lock on another machine."""

FILE_NAME = "pyproject.toml"

_PROJECT_KEYS = (
    "name", "version", "description", "readme", "requires-python", "license", "license-files", "authors",
    "maintainers", "keywords", "classifiers", "urls", "scripts", "gui-scripts", "entry-points",
    "dependencies", "optional-dependencies", "dynamic", "import-names", "import-namespaces",
)  # fmt: skip

_ELSEWHERE = ("dependency-groups", "build-system")
_OBJECT_REFERENCE = re.compile(
    r"\s*[^\W\d]\w*(\.[^\W\d]\w*)*\s*(:\s*[^\W\d]\w*(\.[^\W\d]\w*)*\s*)?(\[.*\])?\s*"
)
_LEGACY_BACKEND = "setuptools.build_meta:__legacy__"
"""PEP 517: a `[build-system]` without `build-backend` means setuptools as it was before."""


def parse_project(content: bytes, *, root: Path) -> Project:
    """Return the validated project that a `pyproject.toml` describes.

    A file without `[project]` is a virtual project: its groups are locked and installed, itself is not.
    Without `requires-python` the project is locked for `DEFAULT_REQUIRES_PYTHON`.

    Raises:
        ConfigurationError: the file is not TOML, or not a valid project; `details` hold every problem with
            its path.
    """
    problems = Problems(FILE_NAME)
    document = Table(parse_toml(content, file_name=FILE_NAME), "", problems)
    if "project" not in document and "poetry" in document.table("tool"):
        raise ConfigurationError(
            f"`{FILE_NAME}` lists its dependencies in `[tool.poetry]`, and has no `[project]`",
            reference="poetry-project",
            hint=f"`pypm init --from {FILE_NAME}` adds what pypm reads, and leaves the rest as it is",
        )
    table = document.table("project")
    extras = _extras(table)
    name = _name(table, root, required="project" in document)
    groups = parse_groups(document.table("dependency-groups"))
    build_system = _build_system(document.table("build-system")) if "build-system" in document else None
    settings = parse_settings(document.table("tool").table("pypm"), extras=extras, groups=groups)
    project = Project(
        root=root,
        name=name,
        version=_version(table),
        requires_python=parse_requires_python(table),
        dependencies=table.requirements("dependencies"),
        extras=MappingProxyType(extras),
        groups=MappingProxyType(groups),
        default_groups=settings.default_groups,
        indexes=settings.indexes,
        sources=MappingProxyType(settings.sources),
        settings=settings.resolution,
        build_system=build_system,
        is_package=_is_package(settings.package, document),
        dynamic=_dynamic(table),
        scripts=_scripts(table),
        sandbox=settings.sandbox,
        tool=settings.rest,
    )
    _spot_misspelt_tables(document)
    problems.raise_if_any()
    return project


def _name(table: Table, root: Path, *, required: bool) -> NormalizedName:
    text = table.text("name")
    if text is not None and (name := table.name(text, table.at("name"))):
        return name
    if required and "name" not in table:
        table.add("name", "is missing: a `[project]` must have a name")
    # A virtual project has no name of its own; its folder's name is shown and nothing depends on it.
    return canonicalize_name(re.sub(r"[^A-Za-z0-9]+", "-", root.name).strip("-") or "project")


def _version(table: Table) -> str | None:
    text = table.text("version")
    if text is None:
        if table.values and "version" not in table and "version" not in _dynamic_texts(table):
            table.add(
                "version", 'is missing: give one, or `dynamic = ["version"]` if the build backend knows it'
            )
        return None
    try:
        return str(Version(text))
    except ValueError:  # `InvalidVersion`, or a number of thousands of digits
        table.add("version", f"`{text}` is not a version (PEP 440)")
        return None


def parse_requires_python(table: Table) -> SpecifierSet:
    """Read `requires-python` of a table, or what stands for it where it is not said."""
    text = table.text("requires-python")
    if text is None:
        return DEFAULT_REQUIRES_PYTHON
    try:
        specifiers = SpecifierSet(text)
        is_impossible = specifiers.is_unsatisfiable()
    except ValueError:  # `InvalidSpecifier`, or a number of thousands of digits
        hint = ": did you mean `>=" + text + "`?" if re.fullmatch(r"\d+(\.\d+)*", text) else ""
        table.add("requires-python", f"`{text}` is not a version condition (PEP 440){hint}")
        return DEFAULT_REQUIRES_PYTHON
    if is_impossible:
        table.add("requires-python", f"no version satisfies `{text}`")
        return DEFAULT_REQUIRES_PYTHON
    return specifiers


def _extras(table: Table) -> dict[NormalizedName, tuple[Requirement, ...]]:
    extras: dict[NormalizedName, tuple[Requirement, ...]] = {}
    optional = table.table("optional-dependencies")
    for key in optional.values:
        name = optional.name(key, optional.at(key))
        requirements = optional.requirements(key)
        if name in extras:
            optional.add(key, f"the extra `{name}` is defined twice (names are compared in normalised form)")
        elif name is not None:
            extras[name] = requirements
    return extras


def _dynamic_texts(table: Table) -> frozenset[str]:
    value = table.values.get("dynamic")
    return frozenset(item for item in value if type(item) is str) if type(value) is list else frozenset()


def _dynamic(table: Table) -> frozenset[str]:
    for where, key in table.texts("dynamic"):
        if key == "name":
            table.problems.add(where, "`name` must not be dynamic")
        elif key not in _PROJECT_KEYS:
            table.problems.add(where, f"`{key}` is not a field{suggestion(key, _PROJECT_KEYS)}")
        elif key in table:
            table.problems.add(where, f"`{key}` is given in `[project]` too; it is either there or dynamic")
    for key in table.values:
        # A field of a later specification must not stop us, but a misspelt one must not be lost.
        if key in _ELSEWHERE:
            table.add(key, f"unknown key: `[{key}]` is a table of its own, outside `[project]`")
        elif key not in _PROJECT_KEYS and (near := suggestion(key, _PROJECT_KEYS)):
            table.add(key, f"unknown key{near}")
    return _dynamic_texts(table)


def _scripts(table: Table) -> Mapping[str, str]:
    scripts: dict[str, str] = {}
    for kind in ("scripts", "gui-scripts"):
        entries = table.table(kind)
        for name in entries.values:
            reference = entries.text(name)
            if reference is None:
                continue
            if not re.fullmatch(r"[^\s=/\\]([^=/\\]*[^\s=/\\])?", name):
                entries.add(name, "is not a name for a script")
            elif not _OBJECT_REFERENCE.fullmatch(reference):
                entries.add(name, f"`{reference}` is not of the form `module:function`")
            elif name in scripts:
                entries.add(name, "is in `scripts` and in `gui-scripts`")
            else:
                scripts[name] = reference.strip()
    return MappingProxyType(scripts)


def _build_system(table: Table) -> BuildSystem:
    table.close(("requires", "build-backend", "backend-path"))
    if "requires" not in table:
        table.add("requires", "is missing (PEP 518)")
    backend = table.text("build-backend")
    if backend is not None and not _OBJECT_REFERENCE.fullmatch(backend):
        table.add("build-backend", f"`{backend}` is not of the form `module` or `module:object`")
    backend_path = tuple(_inside_tree(table, where, text) for where, text in table.texts("backend-path"))
    return BuildSystem(
        requires=table.requirements("requires"), backend=backend or _LEGACY_BACKEND, backend_path=backend_path
    )


def _inside_tree(table: Table, where: str, text: str) -> str:
    """PEP 517: the backend path must not lead out of the source tree."""
    parts = text.replace("\\", "/").split("/")
    if text.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        table.problems.add(where, f"`{text}` leads out of the project")
    return text


def _is_package(chosen: bool | None, document: Table) -> bool:
    if "project" not in document:
        if chosen:
            document.problems.add("tool.pypm.package", "a file without `[project]` describes no package")
        return False
    return "build-system" in document if chosen is None else chosen


def _spot_misspelt_tables(document: Table) -> None:
    known = ("project", "build-system", "dependency-groups", "tool")
    for key in document.values:
        if key not in known and (near := suggestion(key, known)):
            document.add(key, f"unknown table{near}")

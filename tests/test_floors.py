"""The rule of the stairs: a file imports only from lower floors or from its own room.

Read with `ast`, so imports inside functions count as well: a lazy import is still a dependency.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent

PYPM_FLOORS = {
    "": 0,  # pypm/__init__.py: the version and nothing else
    "errors": 0,
    "paths": 0,
    "flock": 0,
    "files": 0,
    "regular": 0,
    "digest": 0,
    "display": 0,
    "consents": 0,
    "programs": 0,
    "bundle": 0,
    "model": 1,
    "codec": 2,
    "resolve": 3,
    "isolation": 3,
    "index": 4,
    "store": 4,
    "environment": 4,
    "build": 4,
    "plugins": 4,
    "signing": 4,
    "workflow": 5,
    "cli": 6,
    "launch": 7,
    "__main__": 8,
}
FLOOR_ZERO_ORDER = [
    "",
    "errors",
    "paths",
    "flock",
    "files",
    "regular",
    "digest",
    "display",
    "consents",
    "programs",
    "bundle",
]
"""On floor zero each file is its own room; these may build on those before them."""

SANDBOX_FLOORS = {
    "errors": 0,
    "codes": 0,
    "traffic": 0,
    "policy": 0,
    "validity": 0,
    "command": 0,
    "host": 1,
    "scratch": 1,
    "process": 1,
    "signals": 1,
    "terminal": 1,
    "backend": 2,
    "linux": 3,
    "macos": 3,
    "windows": 3,
    "none": 3,
    "choose": 4,
    "": 5,
    "__main__": 6,
}

FOREIGN = {
    "packaging": {
        "model",
        "codec",
        "resolve",
        "isolation",
        "index",
        "store",
        "environment",
        "build",
        "plugins",
        "workflow",
    },
    "tomli": {"codec"},
    "tomlkit": {"codec"},
    "msgspec": {"codec", "index", "model", "plugins", "resolve", "store", "workflow"},
    "selectolax": {"codec"},
    "httpx": {"index"},
    "certifi": {"index"},
    "findpython": {"environment"},
    "pyproject_hooks": {"build"},
    "click": {"cli"},
    "rich": {"cli"},
    "psutil": {"sandbox.process", "sandbox.host", "sandbox.linux.sampling", "workflow", "files"},
    "pyroute2": {"sandbox.linux.egress"},
    "prctl": {"sandbox.linux.syscalls"},
}
"""Which room may import which foreign package; everything else is the standard library or refused."""


def python_files(package: str) -> list[Path]:
    return sorted(path for path in (CHECKOUT / package).rglob("*.py") if "__pycache__" not in path.parts)


def module_of(path: Path) -> str:
    parts = list(path.relative_to(CHECKOUT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    module = module_of(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module if path.name == "__init__.py" else module.rpartition(".")[0]
                for _ in range(node.level - 1):
                    package = package.rpartition(".")[0]
                base = f"{package}.{base}".rstrip(".")
            if base in ("pypm", "sandbox"):
                names.update(f"{base}.{alias.name}" for alias in node.names)
            else:
                names.add(base)
    return names


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def is_inside_script(path: Path) -> bool:
    """Scripts that are mounted into a sandbox run there alone and import nothing of ours."""
    return path.stem.endswith("inside")


@pytest.mark.parametrize("path", python_files("pypm"), ids=module_of)
def test_pypm_imports_only_downwards(path: Path) -> None:
    module = module_of(path)
    room = room_of(module)
    assert room in PYPM_FLOORS, f"{module} stands in a room that docs/architecture.md does not know"
    for imported in imports_of(path):
        if imported == "pypm" or imported.startswith("pypm."):
            other = room_of(imported)
            if other in ("__version__", room):
                continue
            assert other in PYPM_FLOORS, f"{module} imports {imported}, which no floor knows"
            if PYPM_FLOORS[room] == 0 == PYPM_FLOORS[other]:
                assert FLOOR_ZERO_ORDER.index(other) < FLOOR_ZERO_ORDER.index(room), (
                    f"{module} imports {imported}"
                )
            else:
                assert PYPM_FLOORS[other] < PYPM_FLOORS[room], (
                    f"{module} imports {imported}: not a lower floor"
                )
        elif imported.split(".")[0] == "sandbox":
            assert PYPM_FLOORS[room] >= 3, f"{module} is below the floor that may know the sandbox"
            assert imported.count(".") <= 1, f"{module} imports {imported}: use sandbox's public names"


@pytest.mark.parametrize("path", python_files("sandbox"), ids=module_of)
def test_sandbox_stands_alone_and_imports_only_downwards(path: Path) -> None:
    module = module_of(path)
    room = room_of(module)
    assert room in SANDBOX_FLOORS, f"{module} stands in a room that docs/architecture.md does not know"
    for imported in imports_of(path):
        top = imported.split(".")[0]
        assert top != "pypm", f"{module} imports {imported}: sandbox knows nothing of packages"
        if top == "sandbox":
            other = room_of(imported)
            if other == room or other not in SANDBOX_FLOORS:
                continue
            assert SANDBOX_FLOORS[other] <= SANDBOX_FLOORS[room], (
                f"{module} imports {imported}: not a lower floor"
            )


@pytest.mark.parametrize("path", [*python_files("pypm"), *python_files("sandbox")], ids=module_of)
def test_foreign_packages_are_used_where_they_belong(path: Path) -> None:
    module = module_of(path)
    room = module if module.startswith("sandbox") else room_of(module)
    for imported in imports_of(path):
        top = imported.split(".")[0]
        if top in ("pypm", "sandbox", "__future__") or top in sys.stdlib_module_names:
            continue
        assert top in FOREIGN, f"{module} imports {top}, which docs/dependencies.md does not list"
        assert room in FOREIGN[top], f"{module} imports {top}; only {sorted(FOREIGN[top])} may"


def test_no_room_is_a_drawer_for_odds_and_ends() -> None:
    drawers = {"utils", "util", "common", "helpers", "manager", "misc"}
    names = {path.stem for package in ("pypm", "sandbox") for path in python_files(package)}
    assert not names & drawers


def test_every_declared_dependency_is_used_and_explained() -> None:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    from packaging.requirements import Requirement

    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {Requirement(text).name for text in project["dependencies"]}
    import_names = {"python-prctl": "prctl", "pyproject-hooks": "pyproject_hooks"}
    imported = {
        name.split(".")[0]
        for package in ("pypm", "sandbox")
        for path in python_files(package)
        for name in imports_of(path)
    }
    explained = (CHECKOUT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    for name in sorted(declared):
        assert import_names.get(name, name) in imported, f"{name} is declared but never imported"
        assert f"`{name}`" in explained, f"{name} has no reason in docs/dependencies.md"

"""Scenario files: what they say, field by field.

Source: the format of packse (https://github.com/astral-sh/packse), as TOML.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_PYTHON = "3.12"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One version of a package in a scenario."""

    requires: tuple[str, ...] = ()
    extras: Mapping[str, tuple[str, ...]]
    requires_python: str | None = None
    yanked: bool | str = False
    """True, or the reason."""
    wheel: bool = True
    sdist: bool = True
    wheel_tags: tuple[str, ...] = ("py3-none-any",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A universe, a question and what is expected of the answer."""

    name: str
    path: Path
    category: str
    description: str
    packages: Mapping[str, Mapping[str, Release]]
    requires: tuple[str, ...]
    requires_python: str | None
    environment_python: str
    """The Python that the question is asked from."""
    target_python: str
    """The Python that the answer is for."""
    has_environment: bool
    platform: str | None
    universal: bool
    is_compile: bool
    """`environment_python` is the lowest Python of the answer, whatever the root says."""
    satisfiable: bool
    expected: Mapping[str, str]
    explanation: str | None
    no_build: tuple[str, ...] = ()
    no_binary: tuple[str, ...] = ()
    prerelease: str = "if-necessary"
    resolution: str = "highest"
    environments: tuple[str, ...] = ()
    required_environments: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def load_scenario(path: Path, folder: Path) -> Scenario:
    """Read one scenario file."""
    data = read_toml(path)
    options = data.get("resolver_options", {})
    environment = data.get("environment", {})
    root = data.get("root", {})
    expected = data.get("expected", {})
    python = environment.get("python", DEFAULT_PYTHON)
    relative = path.relative_to(folder)
    prefer = "if-necessary"
    return Scenario(
        name=data["name"],
        path=path,
        category=relative.parts[0] if len(relative.parts) > 1 else path.parent.name,
        description=data.get("description", "").strip(),
        packages={
            name: {version: _release(release) for version, release in package.get("versions", {}).items()}
            for name, package in data.get("packages", {}).items()
        },
        requires=tuple(root.get("requires", ())),
        requires_python=root.get("requires_python"),
        environment_python=python,
        target_python=options.get("python", python),
        has_environment="python" in environment,
        platform=options.get("python_platform"),
        universal=bool(options.get("universal")),
        is_compile=data.get("testgen", {}).get("kind") == "compile",
        satisfiable=expected.get("satisfiable", True),
        expected=dict(expected.get("packages", {})),
        explanation=expected.get("explanation"),
        no_build=tuple(options.get("no_build", ())),
        no_binary=tuple(options.get("no_binary", ())),
        prerelease="allow" if options.get("prereleases") is True else options.get("prerelease", prefer),
        resolution=options.get("resolution", "highest"),
        environments=tuple(options.get("environments", ())),
        required_environments=tuple(options.get("required_environments", ())),
        constraints=tuple(options.get("constraints", ())),
        overrides=tuple(options.get("overrides", ())),
    )


def _release(data: Mapping[str, Any]) -> Release:
    tags = data.get("wheel_tags")
    return Release(
        requires=tuple(data.get("requires", ())),
        extras={name: tuple(requires) for name, requires in data.get("extras", {}).items()},
        requires_python=data.get("requires_python", ">=3.8") or None,
        yanked=data.get("yanked") or False,
        wheel=bool(data.get("wheel", True)),
        sdist=bool(data.get("sdist", True)),
        wheel_tags=tuple(tags) if tags else ("py3-none-any",),
    )


def load_folder(folder: Path) -> list[Scenario]:
    """Read every scenario below a folder, by path."""
    return [load_scenario(path, folder) for path in sorted(folder.rglob("*.toml"))]

"""What was locked, out of either lock file, and what differs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from integration.scenarios.model import read_toml

Pins = dict[str, frozenset[Version]]
"""Name to the versions it is locked at; none where a source tree's version is its own affair."""

BETTER = Path(__file__).with_name("better.toml")


def our_pins(folder: Path) -> tuple[Pins, int]:
    """Return the pins of pypm.lock and the number of fork regions."""
    lock = read_toml(folder / "pypm.lock")
    rows = [(row["name"], row.get("version")) for row in lock.get("packages", ())]
    return _gathered(rows), len(lock.get("forks", ()))


def our_constraints(folder: Path) -> list[str]:
    """Return the pins of pypm.lock as constraints, each with where it holds."""
    rows = read_toml(folder / "pypm.lock").get("packages", ())
    return [
        f"{row['name']}=={row['version']}" + (f" ; {row['marker']}" if "marker" in row else "")
        for row in rows
        if "version" in row and "index" in row
    ]


def their_pins(folder: Path) -> tuple[Pins, int]:
    """Return the pins of uv.lock, without the project itself, and the number of fork regions."""
    lock = read_toml(folder / "uv.lock")
    rows = [
        (row["name"], row.get("version"))
        for row in lock.get("package", ())
        if "." not in (row["source"].get("virtual"), row["source"].get("editable"))
    ]
    return _gathered(rows), len(lock.get("resolution-markers", ()))


def _gathered(rows: list[tuple[str, str | None]]) -> Pins:
    pins: dict[str, set[Version]] = {}
    for name, version in rows:
        versions = pins.setdefault(canonicalize_name(name), set())
        if version is not None:
            versions.add(Version(version))
    return {name: frozenset(versions) for name, versions in pins.items()}


def count(pins: Pins) -> int:
    """Return the number of pins: a package at two versions counts twice."""
    return sum(len(versions) or 1 for versions in pins.values())


def differences(ours: Pins, theirs: Pins) -> dict[str, str]:
    """Return the packages that are not locked alike, each with how."""
    return {
        name: f"{name}: ours {_said(ours.get(name))}, the peer's {_said(theirs.get(name))}"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    }


def _said(versions: frozenset[Version] | None) -> str:
    if versions is None:
        return "none"
    return " and ".join(map(str, sorted(versions))) or "its own version"


def reasons(project: str, better: Mapping[str, Any]) -> dict[str, str]:
    """Return the packages of a project whose difference is explained, each with the reason."""
    return {name: entry["reason"] for entry in better.get(project, ()) for name in entry["packages"]}

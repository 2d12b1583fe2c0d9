"""The files of a scenario's releases: real wheels and sdists, the same bytes every time."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from base64 import urlsafe_b64encode

from integration.scenarios.model import Release

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip archive can name."""


def metadata(name: str, version: str, release: Release) -> bytes:
    """Return the core metadata of a release."""
    lines = ["Metadata-Version: 2.2", f"Name: {name}", f"Version: {version}"]
    if release.requires_python:
        lines.append(f"Requires-Python: {release.requires_python}")
    lines += [f"Provides-Extra: {extra}" for extra in release.extras]
    lines += [f"Requires-Dist: {line}" for line in requires_dist(release)]
    return ("\n".join(lines) + "\n").encode()


def requires_dist(release: Release) -> list[str]:
    """Return the `Requires-Dist` lines of a release, those of its extras with their marker."""
    lines = list(release.requires)
    for extra, requires in release.extras.items():
        for text in requires:
            requirement, _, marker = text.partition(";")
            condition = f"({marker.strip()}) and extra == '{extra}'" if marker else f"extra == '{extra}'"
            lines.append(f"{requirement.strip()} ; {condition}")
    return lines


def file_names(name: str, version: str, release: Release) -> list[str]:
    """Return the names of the wheels and sdists that a release has."""
    stem = f"{name.replace('-', '_')}-{version}"
    wheels = [f"{stem}-{tag}.whl" for tag in release.wheel_tags] if release.wheel else []
    return wheels + ([f"{stem}.tar.gz"] if release.sdist else [])


def content(filename: str, name: str, version: str, release: Release) -> bytes:
    """Return the bytes of one file."""
    made = _wheel if filename.endswith(".whl") else _sdist
    return made(filename, name, version, release)


def _wheel(filename: str, name: str, version: str, release: Release) -> bytes:
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    pythons, abis, platforms = (part.split(".") for part in filename.removesuffix(".whl").rsplit("-", 3)[1:])
    tags = [f"Tag: {p}-{a}-{platform}" for p in pythons for a in abis for platform in platforms]
    members = {
        f"{module}/__init__.py": f"__version__ = {version!r}\n".encode(),
        f"{info}/METADATA": metadata(name, version, release),
        f"{info}/WHEEL": "\n".join(
            ["Wheel-Version: 1.0", "Generator: scenarios", "Root-Is-Purelib: true", *tags, ""]
        ).encode(),
    }
    rows = []
    for path, data in members.items():
        digest = urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        rows.append(f"{path},sha256={digest},{len(data)}")
    members[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in members.items():
            archive.writestr(zipfile.ZipInfo(path, EPOCH), data)
    return buffer.getvalue()


def _sdist(filename: str, name: str, version: str, release: Release) -> bytes:
    module = name.replace("-", "_")
    folder = filename.removesuffix(".tar.gz")
    dependencies = ", ".join(repr(line) for line in release.requires)
    project = [
        "[build-system]",
        'requires = ["hatchling"]',
        'build-backend = "hatchling.build"',
        "[project]",
        f'name = "{name}"',
        f'version = "{version}"',
        f"dependencies = [{dependencies}]",
    ]
    if release.requires_python:
        project.append(f'requires-python = "{release.requires_python}"')
    if release.extras:
        project.append("[project.optional-dependencies]")
        project += [f"{extra} = {list(requires)!r}" for extra, requires in release.extras.items()]
    members = {
        "PKG-INFO": metadata(name, version, release),
        "pyproject.toml": "\n".join([*project, ""]).encode(),
        f"src/{module}/__init__.py": f"__version__ = {version!r}\n".encode(),
    }
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for path, data in members.items():
            entry = tarfile.TarInfo(f"{folder}/{path}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()

"""Translating the lock for other installers."""

from __future__ import annotations

from pypm.errors import LockError
from pypm.model.lock import Lock, LockedPackage
from pypm.model.project import IndexSource, PathSource, UrlSource, VcsSource

_HEADER = "# Made by `pypm export --format requirements`; the truth is pypm.lock.\n"


def requirements_text(lock: Lock) -> str:
    """Return the lock as a requirements file in which every artifact carries its hash.

    Source: pip's requirements file format and hash-checking mode. Markers that speak of extras and groups are
    not known to pip, so only what the project always needs is written.
    """
    lines = [_HEADER]
    for package in lock.packages:
        if package.marker is not None and _speaks_of_selection(str(package.marker)):
            continue
        lines.append(_entry(package))
    return "".join(lines)


def _entry(package: LockedPackage) -> str:
    marker = f" ; {package.marker}" if package.marker is not None else ""
    artifacts = [*package.wheels, *([package.sdist] if package.sdist else [])]
    hashes = []
    for artifact in artifacts:
        if artifact.sha256 is None:
            raise LockError(
                f"`{artifact.filename}` has a placeholder in place of its hash",
                reference="placeholder-hash",
                hint="`pypm lock --refresh` fills it in",
            )
        hashes.append(f" \\\n    --hash=sha256:{artifact.sha256}")
    return f"{_requirement(package)}{marker}{''.join(hashes)}\n"


def _requirement(package: LockedPackage) -> str:
    source = package.source
    if isinstance(source, PathSource):
        return f"{'-e ' if source.editable else ''}./{source.path}"
    if isinstance(source, UrlSource):
        return f"{package.name} @ {source.url}"
    if isinstance(source, VcsSource):
        revision = f"@{source.revision}" if source.revision else ""
        return f"{package.name} @ {source.kind}+{source.url}{revision}"
    assert isinstance(source, IndexSource) or package.version, "a workspace member has a version"
    return f"{package.name}=={package.version}"


def _speaks_of_selection(marker: str) -> bool:
    return "extras" in marker or "dependency_groups" in marker

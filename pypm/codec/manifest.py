"""The manifest of a stored tree: a header that finds a wheel, and a row for each of its files.

Text, one record a line, fields between tabs; names with control characters never reach the store. A sync
that finds nothing to do reads headers only, so header and rows have a checksum each. A torn or edited
manifest is an error, never a shorter tree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from pypm.errors import IntegrityError
from pypm.model.artifact import Sha256
from pypm.model.wheel import EntryPoint, ManifestEntry, StoredWheel

if TYPE_CHECKING:
    from packaging.utils import NormalizedName

_MAGIC = b"pypm-manifest 1 "
_DERIVED, _SAME = "-", "="


class ManifestRow(NamedTuple):
    """One file, cheaper to make than a `ManifestEntry`: an environment has twenty thousand."""

    path: str
    mode: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestHeader:
    """What a sync needs to know of a tree before it links it."""

    wheel: StoredWheel
    site_packages: str
    """`lib/python3.11/site-packages`."""
    mtime_ns: int
    """Modification time of every file of the tree; another time shows a write through a hard link."""
    file_count: int
    rows_sha256: str
    rows_offset: int


def tree_mtime_ns(sha256: Sha256) -> int:
    """Return the modification time of a tree's files: between 1980 and 1988, derived from the archive's hash.

    The same on every machine, but another one for another wheel: tools that compare time and size (mypy,
    make) see an upgrade, which one constant would hide from them. Not before 1980, the first year that zip
    can write.
    """
    return (315_532_800 + int(sha256[:7], 16)) * 1_000_000_000


def dump_manifest(
    wheel: StoredWheel, entries: Iterable[ManifestEntry], *, site_packages: str, mtime_ns: int
) -> bytes:
    """Return the manifest's bytes; `entries` are written in the order given."""
    rows = [_row(entry, site_packages) for entry in entries]
    body = "".join(rows).encode("utf-8")
    records: list[tuple[str, ...]] = [
        ("name", wheel.name),
        ("version", wheel.version),
        ("sha256", wheel.sha256),
        ("merkle-root", wheel.merkle_root),
        ("dist-info", wheel.dist_info),
        ("site-packages", site_packages),
        ("mtime-ns", str(mtime_ns)),
        *(
            ("entry-point", e.name, e.module, e.attribute, "gui" if e.gui else "console")
            for e in wheel.entry_points
        ),
        *(("script", name) for name in wheel.scripts),
        *(("startup-code", path) for path in wheel.startup_code),
        ("rows", str(len(rows)), hashlib.sha256(body).hexdigest()),
    ]
    header = "".join("\t".join(record) + "\n" for record in records).encode("utf-8") + b"\n"
    return _MAGIC + hashlib.sha256(header).hexdigest().encode("ascii") + b"\n" + header + body


def _row(entry: ManifestEntry, site_packages: str) -> str:
    if entry.derived:
        origin = _DERIVED
    elif entry.path == f"{site_packages}/{entry.archive_path}":
        origin = _SAME
    else:
        origin = entry.archive_path
    return f"{entry.mode:o}\t{entry.size_bytes}\t{entry.sha256}\t{entry.path}\t{origin}\n"


def load_header(content: bytes, *, tree: Path) -> ManifestHeader:
    """Parse a manifest's header; `content` may end anywhere behind it.

    Raises:
        IntegrityError: it is not a manifest, or was changed.
    """
    first_end = content.find(b"\n") + 1
    header_end = content.find(b"\n\n", first_end) + 2
    header = content[first_end:header_end]
    expected = _MAGIC + hashlib.sha256(header).hexdigest().encode("ascii") + b"\n"
    if not first_end or header_end < 2 or content[:first_end] != expected:
        raise _damaged(tree)
    single: dict[str, str] = {}
    repeated: dict[str, list[list[str]]] = {"entry-point": [], "script": [], "startup-code": [], "rows": []}
    for line in header.decode("utf-8").split("\n")[:-2]:
        key, *values = line.split("\t")
        if key in repeated:
            repeated[key].append(values)
        else:
            single[key] = values[0]
    file_count, rows_sha256 = repeated["rows"][0]
    wheel = StoredWheel(
        name=cast("NormalizedName", single["name"]),
        version=single["version"],
        sha256=Sha256(single["sha256"]),
        merkle_root=Sha256(single["merkle-root"]),
        tree=tree,
        entry_points=tuple(
            EntryPoint(name=name, module=module, attribute=attribute, gui=kind == "gui")
            for name, module, attribute, kind in repeated["entry-point"]
        ),
        scripts=tuple(name for (name,) in repeated["script"]),
        startup_code=tuple(path for (path,) in repeated["startup-code"]),
        dist_info=single["dist-info"],
    )
    return ManifestHeader(
        wheel=wheel,
        site_packages=single["site-packages"],
        mtime_ns=int(single["mtime-ns"]),
        file_count=int(file_count),
        rows_sha256=rows_sha256,
        rows_offset=header_end,
    )


def load_rows(content: bytes, header: ManifestHeader) -> list[ManifestRow]:
    """Return the files of the whole manifest `content`, as linking needs them.

    Raises:
        IntegrityError: the rows were changed or cut off.
    """
    return [
        ManifestRow(path, int(mode, 8), int(size), sha256)
        for mode, size, sha256, path, _ in _split_rows(content, header)
    ]


def load_entries(content: bytes, header: ManifestHeader) -> tuple[ManifestEntry, ...]:
    """Return the files of a whole manifest with their names in the wheel, as verifying needs them.

    Raises:
        IntegrityError: the rows were changed or cut off.
    """
    below = len(header.site_packages) + 1
    return tuple(
        ManifestEntry(
            path=path,
            mode=int(mode, 8),
            size_bytes=int(size),
            sha256=Sha256(sha256),
            derived=origin == _DERIVED,
            archive_path="" if origin == _DERIVED else path[below:] if origin == _SAME else origin,
        )
        for mode, size, sha256, path, origin in _split_rows(content, header)
    )


def _split_rows(content: bytes, header: ManifestHeader) -> list[list[str]]:
    body = content[header.rows_offset :]
    if hashlib.sha256(body).hexdigest() != header.rows_sha256:
        raise _damaged(header.wheel.tree)
    # Not `splitlines`: that also splits at separators which a file's name may hold.
    return [line.split("\t") for line in body.decode("utf-8").split("\n")[:-1]]


def _damaged(tree: Path) -> IntegrityError:
    return IntegrityError(
        f"the manifest `{tree / 'manifest'}` is damaged",
        reference="damaged-manifest",
        hint="`pypm cache clean` removes the store; the next sync fetches and unpacks all anew",
    )

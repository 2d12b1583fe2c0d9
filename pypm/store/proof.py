"""What a stored tree must hold, and who vouches for its manifest.

A manifest was made on this machine and has no key, so whoever can write to the store can write one that
fits. It proves something only by its Merkle root: when the lock states it, or when the archive whose hash is
in the lock says the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pypm.codec.manifest import ManifestHeader
from pypm.codec.merkle import Leaf, wheel_leaf, wheel_root
from pypm.codec.record import RecordRow
from pypm.model.artifact import Sha256
from pypm.model.verification import Difference, ExpectedFile
from pypm.model.wheel import ManifestEntry

MANIFEST = "manifest"

Witness = Literal["lock", "archive", "manifest"]
"""Who says what a wheel holds: the lock by its Merkle root; the downloaded archive, whose hash the lock has;
or nobody but the manifest that this machine made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How a manifest was proven, and what is wrong with it."""

    witness: Witness
    differences: tuple[Difference, ...] = ()


def expected_tree(header: ManifestHeader, entries: Iterable[ManifestEntry]) -> dict[str, ExpectedFile]:
    """Return what must lie in the tree's folder, by path below it.

    The manifest's own content is proven by `prove`, not by a hash.
    """
    owner = header.wheel.name
    expected = {MANIFEST: ExpectedFile(owner, "", mode_mask=0)}
    for entry in entries:
        path = entry.path[3:] if entry.path.startswith("../") else f"prefix/{entry.path}"
        expected[path] = ExpectedFile(
            owner, entry.sha256, entry.size_bytes, entry.mode, mtime_ns=header.mtime_ns
        )
    return expected


def prove(
    header: ManifestHeader,
    entries: Iterable[ManifestEntry],
    *,
    locked_root: Sha256 | None,
    record: Iterable[RecordRow] | None,
) -> Proof:
    """Compare a manifest with the best witness that there is.

    `record` is the RECORD of the archive, read after the archive's hash was compared with the lock's.
    """
    entries = tuple(entries)
    name = header.wheel.name
    own = [entry for entry in entries if not entry.derived]
    leaves = [wheel_leaf(entry.archive_path, entry.size_bytes, entry.sha256) for entry in own]
    wrong = [
        Difference(what="changed", package=name, path=entry.path)
        for entry in own
        if not _is_placed(entry, header.site_packages)
    ]
    root = wheel_root(leaves)
    stated = locked_root or header.wheel.merkle_root
    if record is not None and locked_root in (None, root):
        wrong += _compared(name, leaves, record)
    if {root, header.wheel.merkle_root} != {stated} and not wrong:
        wrong.append(Difference(what="changed", package=name, path=MANIFEST))
    witness: Witness = "lock" if locked_root else "manifest" if record is None else "archive"
    return Proof(witness=witness, differences=tuple(wrong))


def _is_placed(entry: ManifestEntry, site_packages: str) -> bool:
    """Whether a file lies where its name in the archive puts it: a manifest must not swap two files."""
    if entry.path == f"{site_packages}/{entry.archive_path}":
        return True
    folder, _, below = entry.archive_path.partition("/")
    path = below.partition("/")[2]
    if path.startswith("lib64/"):
        path = "lib/" + path[len("lib64/") :]
    return folder.endswith(".data") and bool(path) and f"/{entry.path}".endswith(f"/{path}")


def _compared(name: str, leaves: Iterable[Leaf], record: Iterable[RecordRow]) -> list[Difference]:
    """Return the files that the manifest describes otherwise than RECORD."""
    claimed = {leaf.path: leaf for leaf in leaves}
    wrong = []
    for row in record:
        leaf = claimed.pop(row.path, None)
        if leaf is None:
            if row.sha256 is not None or row.stronger_hash is not None:
                wrong.append(Difference(what="missing", package=name, path=row.path))
        elif row.sha256 not in (None, leaf.sha256) or row.size_bytes not in (None, leaf.size_bytes):
            wrong.append(Difference(what="changed", package=name, path=row.path))
    return wrong + [Difference(what="added", package=name, path=path) for path in claimed]

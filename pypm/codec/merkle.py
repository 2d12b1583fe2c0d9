"""Merkle roots of wheels and environments: RFC 6962 trees over canonical leaves.

A wheel's root can be had from its RECORD alone and from its unpacked files alone, and both are equal: the
lock states it without downloading the wheel, the sync proves it. An inclusion proof shows that one file, or
one wheel, belongs to a root without the rest. `docs/merkle.md` gives the bytes and test vectors.

Source: RFC 6962, section 2.1; RFC 9162, section 2.1.3.2 (verification).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pypm.codec.record import RecordRow
from pypm.errors import IntegrityError
from pypm.model.artifact import Sha256

FILE_MODE = 0o644
SCRIPT_MODE = 0o755
"""RECORD holds no modes, so the leaf's mode follows from the path alone: see `canonical_mode`."""


class Leaf(NamedTuple):
    """One file of a wheel."""

    path: str
    """As RECORD names it: posix, relative to the archive's root."""
    mode: int
    size_bytes: int
    sha256: Sha256


class InclusionProof(NamedTuple):
    """Shows that a leaf is in a tree: the hashes of the siblings on its way to the root, nearest first."""

    leaf_index: int
    leaf_count: int
    siblings: tuple[Sha256, ...]


def canonical_mode(path: str) -> int:
    """Return the mode of a wheel's file: executable below `.data/scripts/`, plain elsewhere.

    An archive may mark other files executable, and they are installed so, but RECORD does not know; the
    hash of the archive vouches for that. A root that needed the archive's directory could not be had from
    RECORD.
    """
    folder, _, rest = path.partition("/")
    return SCRIPT_MODE if folder.endswith(".data") and rest.startswith("scripts/") else FILE_MODE


def wheel_leaf(path: str, size_bytes: int, sha256: Sha256) -> Leaf:
    """Return the leaf of one file of a wheel, its mode canonical."""
    return Leaf(path, canonical_mode(path), size_bytes, sha256)


def wheel_root(leaves: Iterable[Leaf]) -> Sha256:
    """Return the root over a wheel's files, in any order; RECORD and its signatures have no leaf.

    Raises:
        IntegrityError: two leaves have one path.
    """
    return root([leaf_data(leaf) for leaf in sorted_leaves(leaves)])


def record_root(rows: Iterable[RecordRow]) -> Sha256 | None:
    """Return the root that a wheel's RECORD promises: `wheel_root` of its files, without the files.

    None where RECORD does not tell enough: a file with a stronger hash only, or without a size.

    Raises:
        IntegrityError: RECORD names a path twice.
    """
    leaves = []
    for row in rows:
        if row.sha256 is not None and row.size_bytes is not None:
            leaves.append(wheel_leaf(row.path, row.size_bytes, row.sha256))
        elif not _is_unhashed(row.path):
            return None
    return wheel_root(leaves)


def _is_unhashed(path: str) -> bool:
    """RECORD cannot hold its own hash, nor that of its signatures; they have no leaf."""
    folder, _, name = path.partition("/")
    return folder.endswith(".dist-info") and name in ("RECORD", "RECORD.jws", "RECORD.p7s")


def sorted_leaves(leaves: Iterable[Leaf]) -> list[Leaf]:
    """Return the leaves in the order of the tree: by the bytes of their paths, each path once."""
    ordered = sorted(leaves, key=lambda leaf: leaf.path.encode("utf-8"))
    for one, next_one in itertools.pairwise(ordered):
        if one.path == next_one.path:
            raise IntegrityError(f"`{one.path}` is named twice", reference="duplicate-leaf")
    return ordered


def leaf_data(leaf: Leaf) -> bytes:
    """Return a file's canonical bytes: path, octal mode, decimal size, each ended by NUL; the raw digest."""
    head = f"{leaf.path}\0{leaf.mode:o}\0{leaf.size_bytes}\0"
    return head.encode("utf-8") + bytes.fromhex(leaf.sha256)


def wheel_data(name: str, version: str, wheel_merkle_root: Sha256) -> bytes:
    """Return a wheel's canonical bytes as a leaf of an environment."""
    return f"wheel\0{name}\0{version}\0".encode() + bytes.fromhex(wheel_merkle_root)


def environment_digest(wheels: Iterable[tuple[str, str, Sha256]], identity: str) -> Sha256:
    """Return the digest of an environment: over its interpreter's identity and its wheels.

    `wheels` are (normalized name, version, Merkle root) in any order. The interpreter is the first leaf.
    """
    data = sorted(wheel_data(*wheel) for wheel in wheels)
    return root([b"interpreter\0" + identity.encode("utf-8"), *data])


def root(data: Sequence[bytes]) -> Sha256:
    """Return the RFC 6962 tree hash of a list of leaves, given as their bytes."""
    if not data:
        return Sha256(hashlib.sha256(b"").hexdigest())
    return Sha256(_levels(data)[-1][0].hex())


def inclusion_proof(data: Sequence[bytes], index: int) -> InclusionProof:
    """Return the proof that `data[index]` is in the tree over `data`."""
    siblings = []
    position = index
    for level in _levels(data)[:-1]:
        sibling = position ^ 1
        if sibling < len(level):
            siblings.append(Sha256(level[sibling].hex()))
        position //= 2
    return InclusionProof(index, len(data), tuple(siblings))


def verify_inclusion(data: bytes, proof: InclusionProof, expected_root: Sha256) -> bool:
    """Tell whether the proof leads from a leaf's bytes to the root.

    Source: RFC 9162, section 2.1.3.2, whose names `position` and `last` are fn and sn.
    """
    position, last = proof.leaf_index, proof.leaf_count - 1
    if not 0 <= position <= last:
        return False
    node = _hash_leaf(data)
    for sibling in proof.siblings:
        if last == 0:
            return False
        if position & 1 or position == last:
            node = _hash_node(bytes.fromhex(sibling), node)
            while position and not position & 1:
                position >>= 1
                last >>= 1
        else:
            node = _hash_node(node, bytes.fromhex(sibling))
        position >>= 1
        last >>= 1
    return last == 0 and node.hex() == expected_root


def _levels(data: Sequence[bytes]) -> list[list[bytes]]:
    """Return all levels, the leaves first.

    Pairing from the left and lifting an odd last node gives RFC 6962's tree, whose left side is always the
    largest power of two.
    """
    levels = [[_hash_leaf(leaf) for leaf in data]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        above = [_hash_node(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        if len(below) % 2:
            above.append(below[-1])
        levels.append(above)
    return levels


def _hash_leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\0" + data).digest()


def _hash_node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()

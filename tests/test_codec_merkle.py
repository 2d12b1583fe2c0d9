"""Merkle trees: the specification's vectors, an independent second implementation, and the laws of proofs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypm.codec.merkle import (
    InclusionProof,
    Leaf,
    canonical_mode,
    environment_digest,
    inclusion_proof,
    leaf_data,
    record_root,
    root,
    sorted_leaves,
    verify_inclusion,
    wheel_leaf,
    wheel_root,
)
from pypm.codec.record import RecordRow
from pypm.errors import IntegrityError
from pypm.model.artifact import Sha256


def naive(data: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if not data:
        return hashlib.sha256(b"").digest()
    if len(data) == 1:
        return hashlib.sha256(b"\x00" + data[0]).digest()
    split = 1
    while split * 2 < len(data):
        split *= 2
    return hashlib.sha256(b"\x01" + naive(data[:split]) + naive(data[split:])).digest()


def naive_proof(index: int, data: list[bytes]) -> list[bytes]:
    """RFC 6962, section 2.1.1, word by word."""
    if len(data) == 1:
        return []
    split = 1
    while split * 2 < len(data):
        split *= 2
    if index < split:
        return [*naive_proof(index, data[:split]), naive(data[split:])]
    return [*naive_proof(index - split, data[split:]), naive(data[:split])]


RFC_LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
RFC_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""The test vectors of the Certificate Transparency reference implementation."""


@pytest.mark.parametrize("count", range(1, 9))
def test_vectors_of_certificate_transparency(count: int) -> None:
    assert root([bytes.fromhex(leaf) for leaf in RFC_LEAVES[:count]]) == RFC_ROOTS[count - 1]


def test_the_empty_tree() -> None:
    assert root([]) == hashlib.sha256(b"").hexdigest() == wheel_root([])


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_equals_the_naive_implementation(data: list[bytes]) -> None:
    assert root(data) == naive(data).hex()


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=40), st.data())
def test_proofs(data: list[bytes], draw: st.DataObject) -> None:
    index = draw.draw(st.integers(0, len(data) - 1))
    proof = inclusion_proof(data, index)
    assert [bytes.fromhex(sibling) for sibling in proof.siblings] == naive_proof(index, data)
    assert verify_inclusion(data[index], proof, root(data))
    assert not verify_inclusion(data[index] + b"x", proof, root(data))
    assert not verify_inclusion(data[index], proof, Sha256("0" * 64))
    assert not verify_inclusion(
        data[index], proof._replace(siblings=(*proof.siblings, Sha256("0" * 64))), root(data)
    )
    if proof.siblings:
        assert not verify_inclusion(data[index], proof._replace(siblings=proof.siblings[:-1]), root(data))
    for wrong in (-1, len(data)):
        assert not verify_inclusion(data[index], proof._replace(leaf_index=wrong), root(data))


def test_an_inner_node_is_no_leaf() -> None:
    """Without the prefixes of RFC 6962, two hashes glued together would pass as the content of a file."""
    data = [b"a", b"b"]
    glued = hashlib.sha256(b"\x00a").digest() + hashlib.sha256(b"\x00b").digest()
    assert root([glued]) != root(data)
    assert not verify_inclusion(glued, InclusionProof(0, 1, ()), root(data))


LEAVES = st.lists(
    st.builds(
        wheel_leaf,
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
        st.integers(0, 2**40),
        st.binary(min_size=32, max_size=32).map(lambda raw: Sha256(raw.hex())),
    ),
    unique_by=lambda leaf: leaf.path,
    max_size=20,
)


@given(LEAVES, st.randoms())
def test_a_wheel_root_depends_on_no_order(leaves: list[Leaf], random: object) -> None:
    shuffled = leaves[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert wheel_root(shuffled) == wheel_root(leaves)


@given(LEAVES, st.data())
def test_a_wheel_root_depends_on_every_field(leaves: list[Leaf], draw: st.DataObject) -> None:
    if not leaves:
        return
    index = draw.draw(st.integers(0, len(leaves) - 1))
    before = wheel_root(leaves)
    leaf = leaves[index]
    for changed in (
        leaf._replace(path=leaf.path + "/"),
        leaf._replace(mode=leaf.mode ^ 0o111),
        leaf._replace(size_bytes=leaf.size_bytes + 1),
        leaf._replace(sha256=Sha256(leaf.sha256[1:] + ("1" if leaf.sha256[0] == "0" else "0"))),
    ):
        if changed.path in {other.path for other in leaves} - {leaf.path} or changed == leaf:
            continue
        assert wheel_root([*leaves[:index], changed, *leaves[index + 1 :]]) != before
    assert wheel_root(leaves[:index] + leaves[index + 1 :]) != before


def test_a_path_twice_is_refused() -> None:
    leaf = wheel_leaf("a", 1, Sha256("0" * 64))
    with pytest.raises(IntegrityError):
        wheel_root([leaf, leaf._replace(size_bytes=2)])


def test_leaves_are_sorted_by_bytes() -> None:
    paths = ["b", "a/b", "a.b", "Z", "\uffee", "\U0001f600"]
    leaves = sorted_leaves(wheel_leaf(path, 0, Sha256("0" * 64)) for path in paths)
    assert [leaf.path for leaf in leaves] == ["Z", "a.b", "a/b", "b", "\uffee", "\U0001f600"]


@dataclass(frozen=True)
class Vector:
    path: str
    mode: int
    content: bytes


VECTORS = (
    Vector("demo/__init__.py", 0o644, b"VALUE = 42\n"),
    Vector("demo-1.0.data/scripts/tool", 0o755, b"#!python\n"),
    Vector("demo-1.0.dist-info/METADATA", 0o644, b"Name: demo\n"),
)
VECTOR_ROOT = "e7755e7cd0debf8e62a65c32b7bb0d9a5e575114a02b421f2864e3981388fd74"
VECTOR_DIGEST = "2ada101d17e142d09b67a8cd694ba44457694ebd79aca75bf729beed95f922ce"


def vector_leaves() -> list[Leaf]:
    return [
        wheel_leaf(v.path, len(v.content), Sha256(hashlib.sha256(v.content).hexdigest())) for v in VECTORS
    ]


def test_vectors_of_the_documentation() -> None:
    assert [leaf.mode for leaf in vector_leaves()] == [vector.mode for vector in VECTORS]
    assert leaf_data(vector_leaves()[1])[:-32] == b"demo-1.0.data/scripts/tool\x00755\x009\x00"
    assert wheel_root(vector_leaves()) == VECTOR_ROOT
    assert environment_digest([("demo", "1.0", Sha256(VECTOR_ROOT))], "cpython 3.11.7") == VECTOR_DIGEST


def test_vectors_by_hand() -> None:
    """The same numbers without a line of the product."""
    data = sorted(
        f"{v.path}\0{v.mode:o}\0{len(v.content)}\0".encode() + hashlib.sha256(v.content).digest()
        for v in VECTORS
    )
    assert naive(data).hex() == VECTOR_ROOT
    wheel = b"wheel\0demo\x001.0\0" + bytes.fromhex(VECTOR_ROOT)
    assert naive([b"interpreter\0cpython 3.11.7", wheel]).hex() == VECTOR_DIGEST


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("demo-1.0.data/scripts/x", 0o755),
        ("demo-1.0.data/data/scripts/x", 0o644),
        ("demo-1.0.data/data/bin/x", 0o644),
        ("demo.data/x", 0o644),
        ("scripts/x", 0o644),
    ],
)
def test_canonical_modes(path: str, mode: int) -> None:
    assert canonical_mode(path) == mode


def test_the_root_of_record_rows() -> None:
    rows = [
        RecordRow(path=leaf.path, sha256=leaf.sha256, size_bytes=leaf.size_bytes) for leaf in vector_leaves()
    ]
    own = RecordRow(path="demo-1.0.dist-info/RECORD")
    signature = RecordRow(path="demo-1.0.dist-info/RECORD.jws")
    assert record_root([*rows, own, signature]) == VECTOR_ROOT
    assert record_root([*rows, RecordRow(path="x", size_bytes=1, stronger_hash="sha512=...")]) is None
    assert record_root([*rows, RecordRow(path="x", sha256=Sha256("0" * 64))]) is None
    assert record_root([*rows, RecordRow(path="x")]) is None

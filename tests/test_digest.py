from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypm.digest import CHUNK_BYTES, canonical_json, content_digest, parse_sha256, sha256_file, sha256_hex
from pypm.errors import IntegrityError, StorageError

_content: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@pytest.mark.parametrize("size_bytes", [0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 7])
def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path, size_bytes: int) -> None:
    content = bytes(index % 251 for index in range(size_bytes))
    (tmp_path / "file").write_bytes(content)
    assert sha256_file(tmp_path / "file") == sha256_hex(content) == hashlib.sha256(content).hexdigest()


def test_a_missing_file_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot read"):
        sha256_file(tmp_path / "missing")


@given(st.binary())
def test_every_spelling_of_a_digest_parses_to_one(content: bytes) -> None:
    digest = sha256_hex(content)
    for spelling in (digest, f"sha256:{digest}", f"sha256={digest}", f"SHA256:{digest.upper()}"):
        assert parse_sha256(spelling, where="x") == digest


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", "0" * 63, "0" * 65, "g" * 64, "md5:" + "0" * 64, "0" * 64 + "\n", "sha256:TODO-sha256"],
)
def test_anything_else_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(IntegrityError, match="packages\\[0\\]") as caught:
        parse_sha256(text, where="packages[0]")
    assert caught.value.reference == "malformed-digest"


@given(_content)
def test_the_content_digest_is_independent_of_key_order(content: Any) -> None:
    def reversed_keys(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reversed_keys(value[key]) for key in reversed(list(value))}
        return [reversed_keys(item) for item in value] if isinstance(value, list) else value

    assert content_digest(reversed_keys(content)) == content_digest(content)
    assert json.loads(canonical_json(content)) == content


@given(_content, _content)
def test_different_content_has_different_text(one: Any, other: Any) -> None:
    assert (canonical_json(one) == canonical_json(other)) == (repr(one) == repr(other) or _equal(one, other))


def _equal(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)

"""Proving manifests: by the lock's root, by the archive's RECORD, and by where files lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pypm.codec.manifest import ManifestHeader, dump_manifest, load_entries, load_header
from pypm.codec.merkle import wheel_leaf, wheel_root
from pypm.codec.record import RecordRow
from pypm.digest import Sha256, sha256_hex
from pypm.model.wheel import ManifestEntry, StoredWheel
from pypm.store.proof import prove

SITE = "lib/python3.11/site-packages"


def entry(path: str, archive_path: str, content: bytes = b"") -> ManifestEntry:
    return ManifestEntry(
        path=path, mode=0o444, size_bytes=len(content), sha256=sha256_hex(content), archive_path=archive_path
    )


ENTRIES = (
    entry(f"{SITE}/demo/a.py", "demo/a.py", b"a"),
    entry(f"{SITE}/demo/b.py", "demo/b.py", b"b"),
    entry("share/x", "demo-1.0.data/data/share/x", b"x"),
    entry("../scripts/tool", "demo-1.0.data/scripts/tool", b"t"),
    entry("include/site/python3.11/demo/d.h", "demo-1.0.data/headers/d.h", b"d"),
    ManifestEntry(path=f"{SITE}/a.pyc", mode=0o444, size_bytes=1, sha256=Sha256("0" * 64), derived=True),
)
ROOT = wheel_root(
    wheel_leaf(one.archive_path, one.size_bytes, one.sha256) for one in ENTRIES if not one.derived
)
RECORD = (
    *(
        RecordRow(path=one.archive_path, sha256=one.sha256, size_bytes=one.size_bytes)
        for one in ENTRIES
        if not one.derived
    ),
    RecordRow(path="demo-1.0.dist-info/RECORD"),
)


def header(entries: tuple[ManifestEntry, ...] = ENTRIES, root: Sha256 = ROOT) -> ManifestHeader:
    wheel = StoredWheel(
        name="demo",  # type: ignore[arg-type]
        version="1.0",
        sha256=Sha256("1" * 64),
        merkle_root=root,
        tree=Path("tree"),
        dist_info="demo-1.0.dist-info",
    )
    content = dump_manifest(wheel, entries, site_packages=SITE, mtime_ns=0)
    found = load_header(content, tree=Path("tree"))
    assert load_entries(content, found) == entries
    return found


def test_a_true_manifest_is_proven_by_the_best_witness() -> None:
    assert prove(header(), ENTRIES, locked_root=ROOT, record=None).witness == "lock"
    assert prove(header(), ENTRIES, locked_root=None, record=RECORD).witness == "archive"
    assert prove(header(), ENTRIES, locked_root=None, record=None).witness == "manifest"
    for locked_root, record in ((ROOT, None), (None, RECORD), (None, None)):
        assert prove(header(), ENTRIES, locked_root=locked_root, record=record).differences == ()


@pytest.mark.parametrize("fits", [True, False])
def test_a_changed_file_is_found_by_each_witness(fits: bool) -> None:
    evil = (replace(ENTRIES[0], sha256=sha256_hex(b"evil")), *ENTRIES[1:])
    own_root = wheel_root(
        wheel_leaf(one.archive_path, one.size_bytes, one.sha256) for one in evil if not one.derived
    )
    forged = header(evil, own_root if fits else ROOT)
    assert prove(forged, evil, locked_root=ROOT, record=None).differences[0].path == "manifest"
    assert prove(forged, evil, locked_root=None, record=RECORD).differences[0].path == "demo/a.py"
    found = prove(forged, evil, locked_root=None, record=None).differences
    assert bool(found) is not fits, "alone, a manifest vouches only for itself"


def test_swapped_files_have_the_same_root_and_are_found() -> None:
    one, other, *rest = ENTRIES
    swapped = (replace(one, path=other.path), replace(other, path=one.path), *rest)
    found = prove(header(swapped), swapped, locked_root=ROOT, record=None).differences
    assert {difference.path for difference in found} == {one.path, other.path}


def test_missing_and_added_files_are_named() -> None:
    fewer = ENTRIES[1:]
    more = (*ENTRIES, entry(f"{SITE}/demo/c.py", "demo/c.py"))
    found = prove(header(fewer), fewer, locked_root=None, record=RECORD).differences
    assert [(one.what, one.path) for one in found] == [("missing", "demo/a.py")]
    found = prove(header(more), more, locked_root=None, record=RECORD).differences
    assert [(one.what, one.path) for one in found] == [("added", "demo/c.py")]

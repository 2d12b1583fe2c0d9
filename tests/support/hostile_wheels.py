"""Wheels made to deceive an unpacker, each with pypm's reason to refuse it, and good ones that look odd."""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable
from dataclasses import replace

from .wheels import REGULAR, Entry, WheelBuilder, make_zip, record_row

GOOD = WheelBuilder()
INFO = "demo-1.0.dist-info"


def named(*entries: Entry) -> bytes:
    """A wheel with further entries, all of them in RECORD."""
    rows = "".join(record_row(entry.name, entry.content) + "\n" for entry in entries)
    return replace(GOOD, record_extra=rows, extra_entries=entries).to_bytes()


def sizeless(entry: Entry) -> bytes:
    """A wheel whose RECORD gives no size for a further entry."""
    row = record_row(entry.name, entry.content).rpartition(",")[0] + ",\n"
    return replace(GOOD, record_extra=row, extra_entries=(entry,)).to_bytes()


def data(path: str, content: bytes = b"x") -> bytes:
    return replace(GOOD, data={path: content}).to_bytes()


def without(name: str) -> bytes:
    return make_zip(entry for entry in GOOD.entries() if entry.name != name)


def patched(content: bytes, marker: bytes, offset: int, value: bytes) -> bytes:
    position = content.rindex(marker) + offset
    return content[:position] + value + content[position + len(value) :]


def entry_points(text: str) -> bytes:
    return replace(GOOD, entry_points=text).to_bytes()


def zip64(size: int) -> bytes:
    return struct.pack("<HHQ", 1, 8, size)


MODULE = "demo/__init__.py"
SIZE = len(GOOD.files[MODULE])
CASES: dict[str, tuple[str, Callable[[], bytes]]] = {
    # Names.
    "parent path": ("unsafe-path", lambda: named(Entry("../evil.py"))),
    "parent path inside": ("unsafe-path", lambda: named(Entry("demo/../../evil.py"))),
    "absolute path": ("unsafe-path", lambda: named(Entry("/tmp/evil.py"))),
    "backslash": ("unsafe-path", lambda: named(Entry("demo\\evil.py"))),
    "drive letter": ("unsafe-path", lambda: named(Entry("C:evil.py"))),
    "nul": ("unsafe-path", lambda: named(Entry("demo/a\0b.py"))),
    "newline": ("unsafe-path", lambda: named(Entry("demo/a\nb.py"))),
    "empty part": ("unsafe-path", lambda: named(Entry("demo//evil.py"))),
    "dot part": ("unsafe-path", lambda: named(Entry("demo/./evil.py"))),
    "long name": ("unsafe-path", lambda: named(Entry("demo/" + "x" * 256))),
    "long path": ("unsafe-path", lambda: named(Entry("x/" * 600 + "y"))),
    "unmarked encoding": ("ambiguous-name", lambda: named(Entry("démo.py", flags=0))),
    "invalid utf-8": ("ambiguous-name", lambda: named(Entry("x", raw_name=b"\xff.py", flags=1 << 11))),
    "second unicode name": (
        "ambiguous-name",
        lambda: named(Entry("a.py", extra=struct.pack("<HHBL", 0x7075, 9, 1, 0) + b"b.py")),
    ),
    # Kinds.
    "symbolic link": ("link", lambda: named(Entry("l", b"/etc", (stat.S_IFLNK | 0o777) << 16))),
    "device": ("special-file", lambda: named(Entry("d", b"", (stat.S_IFCHR | 0o666) << 16))),
    "pipe": ("special-file", lambda: named(Entry("p", b"", (stat.S_IFIFO | 0o666) << 16))),
    "setuid": ("setuid", lambda: named(Entry("s", b"", (stat.S_IFREG | 0o4755) << 16))),
    "setgid": ("setuid", lambda: named(Entry("s", b"", (stat.S_IFREG | 0o2755) << 16))),
    "folder with content": ("special-file", lambda: named(Entry("demo/x/", b"content"))),
    # Collisions.
    "duplicate": ("duplicate-entry", lambda: named(Entry(MODULE, b"evil"))),
    "case": ("colliding-entries", lambda: named(Entry("Demo/__init__.py", b"evil"))),
    "normalisation": ("colliding-entries", lambda: named(Entry("é.py"), Entry("e\u0301.py"))),
    "case folding": ("colliding-entries", lambda: named(Entry("straße.py"), Entry("STRASSE.py"))),
    "file and folder": ("colliding-entries", lambda: named(Entry("demo", b"evil"))),
    "file and folder entry": (
        "colliding-entries",
        lambda: named(Entry("x"), Entry("x/", b"", (stat.S_IFDIR | 0o755) << 16)),
    ),
    "schemes": ("duplicate-entry", lambda: data("purelib/" + MODULE)),
    "lib64 is lib": (
        "duplicate-entry",
        lambda: replace(GOOD, data={"data/lib64/x": b"1", "data/lib/x": b"2"}).to_bytes(),
    ),
    "script and entry point": (
        "duplicate-entry",
        lambda: replace(
            GOOD, data={"scripts/tool": b"#!python"}, entry_points="[console_scripts]\ntool=demo:x"
        ).to_bytes(),
    ),
    # Sizes.
    "bomb by ratio": ("zip-bomb", lambda: named(Entry("zeros", bytes(32 << 20)))),
    "bomb by total": ("zip-bomb", lambda: named(Entry("zeros", b"", size=65 << 20))),
    "longer than said": ("header-mismatch", lambda: named(Entry("x", b"123456", method=0, size=3))),
    "inflates beyond": ("size-mismatch", lambda: sizeless(Entry("x", b"1" * 6, size=3))),
    "inflates to less": ("size-mismatch", lambda: sizeless(Entry("x", b"1" * 6, size=9))),
    "many entries": ("too-many-entries", lambda: named(*(Entry(f"f{i}") for i in range(1001)))),
    # Structure.
    "crc": ("crc-mismatch", lambda: named(Entry("x", b"content", crc=1))),
    "broken stream": ("broken-compression", lambda: named(Entry("x", b"content", packed=b"\xff\xff\xff"))),
    "cut stream": (
        "broken-compression",
        lambda: named(Entry("x", bytes(range(256)), packed=b"\x00\x00\x01\xff\xfe" + bytes(range(256)))),
    ),
    "bytes behind stream": ("hidden-data", lambda: named(Entry("x", b"", packed=b"\x03\x00hidden"))),
    "local name": ("header-mismatch", lambda: GOOD.replaced(MODULE, local_name=b"demo/__innit__.py"[:16])),
    "local size": ("header-mismatch", lambda: GOOD.replaced(MODULE, local_size=1)),
    "local crc": ("header-mismatch", lambda: GOOD.replaced(MODULE, local_crc=1)),
    "local method": ("header-mismatch", lambda: GOOD.replaced(MODULE, local_method=0)),
    "encrypted": ("unsupported-flags", lambda: GOOD.replaced(MODULE, flags=1)),
    "bzip2": ("unsupported-compression", lambda: GOOD.replaced(MODULE, method=12, packed=b"")),
    "leading data": ("hidden-data", lambda: make_zip(GOOD.entries(), prefix=b"#!/bin/sh\n")),
    "leading data, offsets kept": ("hidden-data", lambda: b"#!/bin/sh\n" + GOOD.to_bytes()),
    "hidden between entries": ("hidden-data", lambda: GOOD.replaced(f"{INFO}/WHEEL", before=b"hidden")),
    "trailing data": ("trailing-data", lambda: make_zip(GOOD.entries(), suffix=b"x")),
    "comment": ("trailing-data", lambda: make_zip(GOOD.entries(), comment=b"PK\5\6")),
    "truncated": ("trailing-data", lambda: GOOD.to_bytes()[:-40]),
    "empty": ("not-a-zip", lambda: b""),
    "not a zip": ("trailing-data", lambda: b"<html>sign in</html>" * 10),
    "split": ("split-archive", lambda: patched(GOOD.to_bytes(), b"PK\5\6", 4, b"\1\0")),
    "too few entries": ("split-archive", lambda: patched(GOOD.to_bytes(), b"PK\5\6", 10, b"\3\0")),
    "fewer entries": ("hidden-data", lambda: patched(GOOD.to_bytes(), b"PK\5\6", 8, b"\3\0\3\0")),
    "overlap": ("overlapping-entries", lambda: patched(GOOD.to_bytes(), b"PK\1\2", 42, bytes(4))),
    "zip64 without record": ("zip64-mismatch", lambda: patched(GOOD.to_bytes(), b"PK\5\6", 8, b"\xff" * 4)),
    "zip64 other size": ("zip64-mismatch", lambda: GOOD.replaced(MODULE, extra=zip64(1))),
    "zip64 local size": (
        "header-mismatch",
        lambda: GOOD.replaced(MODULE, local_extra=zip64(1), local_size=0xFFFFFFFF),
    ),
    "two extra fields": ("header-mismatch", lambda: GOOD.replaced(MODULE, extra=zip64(SIZE) * 2)),
    "cut extra field": ("header-mismatch", lambda: GOOD.replaced(MODULE, extra=b"\1\0\xff\0")),
    "wrong descriptor": (
        "header-mismatch",
        lambda: GOOD.replaced(MODULE, descriptor=True).replace(b"PK\7\x08", b"PK\7\x09"),
    ),
    # RECORD.
    "not in record": (
        "incomplete-record",
        lambda: replace(GOOD, extra_entries=(Entry("evil.py"),)).to_bytes(),
    ),
    "only in record": (
        "incomplete-record",
        lambda: replace(GOOD, record_extra="gone.py,sha256=" + "A" * 43 + ",1\n").to_bytes(),
    ),
    "wrong hash": ("record-mismatch", lambda: GOOD.replaced(MODULE, content=b"VALUE = 43\n")),
    "wrong size": ("record-mismatch", lambda: GOOD.replaced(MODULE, content=b"VALUE = 4\n")),
    "no hash": (
        "malformed-record",
        lambda: replace(GOOD, extra_entries=(Entry("e.py"),), record_extra="e.py,,\n").to_bytes(),
    ),
    "md5": (
        "malformed-record",
        lambda: replace(GOOD, record_extra="e.py,md5=AAAAAAAAAAAAAAAAAAAAAA,\n").to_bytes(),
    ),
    "short hash": ("malformed-record", lambda: replace(GOOD, record_extra="e.py,sha256=AAAA,\n").to_bytes()),
    "negative size": (
        "malformed-record",
        lambda: replace(GOOD, record_extra="e.py,sha256=" + "A" * 43 + ",-1\n").to_bytes(),
    ),
    "parent row": ("unsafe-record", lambda: replace(GOOD, record_extra="../../evil.py,,\n").to_bytes()),
    "absolute row": ("unsafe-record", lambda: replace(GOOD, record_extra="/etc/passwd,,\n").to_bytes()),
    "row twice": (
        "malformed-record",
        lambda: replace(GOOD, record_extra=record_row(MODULE, b"other") + "\n").to_bytes(),
    ),
    "four columns": ("malformed-record", lambda: replace(GOOD, record_extra="a,b,c,d\n").to_bytes()),
    "open quote": ("malformed-record", lambda: replace(GOOD, record_extra='"a,b\n').to_bytes()),
    "record not utf-8": ("malformed-metadata", lambda: GOOD.replaced(f"{INFO}/RECORD", content=b"\xff,,\n")),
    "no record": ("dist-info", lambda: without(f"{INFO}/RECORD")),
    # Identity.
    "no dist-info": ("dist-info", lambda: make_zip([Entry("demo.py", b"x")])),
    "two dist-infos": ("dist-info", lambda: named(Entry("evil-1.0.dist-info/METADATA", b"x"))),
    "upper-case dist-info": ("dist-info", lambda: named(Entry("evil-1.0.DIST-INFO/METADATA", b"x"))),
    "other project": ("wrong-project", lambda: WheelBuilder(name="evil").to_bytes()),
    "other version": ("wrong-version", lambda: WheelBuilder(version="2.0").to_bytes()),
    "metadata of another project": (
        "wrong-project",
        lambda: replace(GOOD, metadata="Name: evil\nVersion: 1.0\n").to_bytes(),
    ),
    "metadata of another version": (
        "wrong-version",
        lambda: replace(GOOD, metadata="Name: demo\nVersion: 2\n").to_bytes(),
    ),
    "metadata without a name": (
        "wrong-project",
        lambda: replace(GOOD, metadata="\nName: demo\nVersion: 1.0\n").to_bytes(),
    ),
    "no WHEEL": (
        "dist-info",
        lambda: make_zip(
            entry
            if entry.name != f"{INFO}/RECORD"
            else replace(
                entry,
                content=replace(
                    GOOD,
                    record="\n".join(line for line in GOOD.record_text().splitlines() if "WHEEL" not in line),
                )
                .record_text()
                .encode(),
            )
            for entry in GOOD.entries()
            if not entry.name.endswith("/WHEEL")
        ),
    ),
    "newer format": ("wheel-version", lambda: replace(GOOD, wheel_file="Wheel-Version: 2.0\n").to_bytes()),
    "no purelib flag": (
        "malformed-metadata",
        lambda: replace(GOOD, wheel_file="Wheel-Version: 1.0\n").to_bytes(),
    ),
    # `.data` and programs.
    "unknown scheme": ("data-scheme", lambda: data("evil/x")),
    "no scheme": ("data-scheme", lambda: data("x")),
    "data of another": ("data-folder", lambda: named(Entry("evil-1.0.data/data/x"))),
    "data escape": ("unsafe-path", lambda: data("data/../../x")),
    "script in a folder": ("data-scheme", lambda: data("scripts/a/b")),
    "python": ("reserved-script", lambda: data("scripts/python")),
    "python3.11": ("reserved-script", lambda: data("scripts/Python3.11")),
    "activate": ("reserved-script", lambda: data("scripts/activate.fish")),
    "python as data": ("reserved-script", lambda: data("data/bin/python3")),
    "settings as data": ("reserved-file", lambda: data("data/pyvenv.cfg")),
    "hidden data": ("reserved-file", lambda: data("data/.gitignore")),
    "python as entry point": (
        "reserved-script",
        lambda: entry_points("[console_scripts]\npython = demo:main\n"),
    ),
    "entry point is a path": ("entry-point", lambda: entry_points("[console_scripts]\n../x = demo:main\n")),
    "entry point is hidden": ("entry-point", lambda: entry_points("[console_scripts]\n.x = demo:main\n")),
    "entry point runs code": (
        "entry-point",
        lambda: entry_points("[gui_scripts]\nx = demo:main(); import os\n"),
    ),
    "entry point module": ("entry-point", lambda: entry_points("[console_scripts]\nx = os;evil:main\n")),
    "entry point keyword": ("entry-point", lambda: entry_points("[console_scripts]\nx = demo:import\n")),
    "entry point without attribute": ("entry-point", lambda: entry_points("[console_scripts]\nx = demo\n")),
    "entry point twice": (
        "entry-point",
        lambda: entry_points("[console_scripts]\nx=a:b\n[gui_scripts]\nx=a:c\n"),
    ),
    "entry point without value": ("entry-point", lambda: entry_points("[console_scripts]\nx\n")),
}


ALLOWED: dict[str, Callable[[], bytes]] = {
    "plain": GOOD.to_bytes,
    "stored": lambda: replace(GOOD, stored=True).to_bytes(),
    "folder entries": lambda: replace(
        GOOD, extra_entries=(Entry("demo/", b"", (stat.S_IFDIR | 0o755) << 16),)
    ).to_bytes(),
    "data descriptor": lambda: GOOD.replaced(MODULE, descriptor=True),
    "unicode names": lambda: named(Entry("demo/größe.txt", b"x")),
    "no unix mode": lambda: named(Entry("x", b"x", attributes=0)),
    "streamed zip64": lambda: GOOD.replaced(
        MODULE, local_extra=struct.pack("<HHQQ", 1, 16, SIZE, 13), local_size=SIZE
    ),
    "unix times": lambda: GOOD.replaced(MODULE, local_extra=struct.pack("<HHBL", 0x5455, 5, 1, 0)),
    "empty file": lambda: named(Entry("demo/py.typed", b"", REGULAR << 16)),
    "signatures": lambda: replace(GOOD, extra_entries=(Entry(f"{INFO}/RECORD.jws", b"{}"),)).to_bytes(),
    "small but dense": lambda: named(Entry("zeros", bytes(900_000))),
    "byte order mark": lambda: replace(
        GOOD, metadata="\ufeffMetadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
    ).to_bytes(),
    "python-like names": lambda: replace(
        GOOD, data={"scripts/python-demo": b"#!python"}, entry_points="[console_scripts]\npythonic=demo:x.y"
    ).to_bytes(),
    "other groups": lambda: entry_points(
        "# comment\n[demo.plugins]\nany thing = ../path\n[console_scripts]\nx = demo:y [extra]\n"
    ),
}

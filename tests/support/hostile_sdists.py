"""Source distributions made to deceive an unpacker, each with a word of pypm's reason to refuse it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

Member = tuple[str, bytes, dict[str, object]]
"""Name, content, and what else the tar header says, as attributes of `tarfile.TarInfo`."""

BACKEND = b"""\
import base64
import hashlib
import zipfile


def digest(content):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "x-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        info = "x-1.0.dist-info/"
        files = {
            "x.py": b"",
            info + "METADATA": b"Metadata-Version: 2.1\\nName: x\\nVersion: 1.0\\n",
            info + "WHEEL": b"Wheel-Version: 1.0\\nGenerator: b\\nRoot-Is-Purelib: true\\n"
            b"Tag: py3-none-any\\n",
        }
        rows = [f"{path},{digest(content)},{len(content)}" for path, content in files.items()]
        files[info + "RECORD"] = "\\n".join([*rows, info + "RECORD,,", ""]).encode()
        for path, content in files.items():
            wheel.writestr(path, content)
    return name
"""
"""A build backend in the tree itself: whoever unpacks the archive can build it, with nothing else at hand."""

GOOD: tuple[Member, ...] = (
    ("x-1.0", b"", {"type": tarfile.DIRTYPE}),
    ("x-1.0/PKG-INFO", b"Metadata-Version: 2.2\nName: x\nVersion: 1.0\n", {}),
    (
        "x-1.0/pyproject.toml",
        b"[build-system]\nrequires = []\nbuild-backend = 'b'\nbackend-path = ['.']\n",
        {},
    ),
    ("x-1.0/b.py", BACKEND, {}),
    ("x-1.0/run", b"#!/bin/sh\n", {"mode": 0o755, "mtime": 1_700_000_005}),
    ("x-1.0/link", b"", {"type": tarfile.SYMTYPE, "linkname": "run"}),
    ("x-1.0/copy", b"", {"type": tarfile.LNKTYPE, "linkname": "x-1.0/run"}),
)


def symbolic(destination: str) -> Member:
    return ("x-1.0/l", b"", {"type": tarfile.SYMTYPE, "linkname": destination})


def hard(destination: str) -> Member:
    return ("x-1.0/l", b"", {"type": tarfile.LNKTYPE, "linkname": destination})


SPARSE: Member = (
    "x-1.0/sparse",
    b"x" * 512,
    {
        "pax_headers": {
            "GNU.sparse.major": "0",
            "GNU.sparse.minor": "1",
            "GNU.sparse.size": str(1 << 42),
            "GNU.sparse.map": "0,512",
            "GNU.sparse.numblocks": "1",
        }
    },
)

CASES: dict[str, tuple[str, tuple[Member, ...]]] = {
    "absolute path": ("absolute", (("/tmp/evil", b"", {}),)),
    "parent path": ("leads out", (("x-1.0/../../evil", b"", {}),)),
    "parent folder": ("leads out", (("..", b"", {"type": tarfile.DIRTYPE}),)),
    "second top folder": ("beside the one top folder", (("y/z", b"", {}),)),
    "file at the top": ("beside the one top folder", (("file", b"", {}),)),
    "backslash": ("every system", (("x-1.0/a\\b", b"", {}),)),
    "long path": ("every system", (("x-1.0/" + "d/" * 600, b"", {}),)),
    "device": ("device", (("x-1.0/dev", b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}),)),
    "pipe": ("device", (("x-1.0/fifo", b"", {"type": tarfile.FIFOTYPE}),)),
    "setuid": ("set-user-id", (("x-1.0/suid", b"", {"mode": 0o4755}),)),
    "setgid": ("set-user-id", (("x-1.0/sgid", b"", {"mode": 0o2755}),)),
    "sparse file": ("sparse", (SPARSE,)),
    "absolute link": ("link out", (symbolic("/etc/passwd"),)),
    "link out": ("link out", (symbolic("../y"),)),
    "link down and out": ("link out", (symbolic("a/../../.."),)),
    "link to itself": ("link out", (symbolic("."),)),
    "link through a link": (
        "link out",
        (
            ("x-1.0/a/b/up", b"", {"type": tarfile.SYMTYPE, "linkname": "../.."}),
            ("x-1.0/out", b"", {"type": tarfile.SYMTYPE, "linkname": "a/b/up/../.."}),
        ),
    ),
    "file through a link out": (
        "link out",
        (symbolic("../.."), ("x-1.0/l/evil", b"x", {})),
    ),
    "absolute hard link": ("absolute", (hard("/etc/passwd"),)),
    "hard link out": ("leads out", (hard("../etc/passwd"),)),
    "hard link to a link": ("link out", (hard("x-1.0/link"),)),
    "hard link to nothing": ("link out", (hard("x-1.0/missing"),)),
    "duplicate": ("twice", (("x-1.0/run", b"again", {}),)),
    "file below a link": ("no folder", (("x-1.0/link/below", b"", {}),)),
    "file below a file": ("no folder", (("x-1.0/run/below", b"", {}),)),
    "folder over a link": ("no folder", (("x-1.0/link", b"", {"type": tarfile.DIRTYPE}),)),
}


def tar(path: Path, *members: Member, mode: str = "w:gz") -> Path:
    """Write a tar archive whose headers say what `members` say."""
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for name, content, changes in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mtime = 1_700_000_000
            for key, value in changes.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return path


def hostile(path: Path, members: Sequence[Member]) -> Path:
    """Write a good source distribution with `members` added."""
    return tar(path, *GOOD, *members)

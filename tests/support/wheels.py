"""Wheels made to measure: good ones by default, hostile ones by overriding exactly one thing.

The archive is written byte by byte, because `zipfile` refuses to write most of what must be
refused when read.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import stat
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from packaging.utils import NormalizedName, canonicalize_name

from pypm.digest import sha256_file
from pypm.model.target import Interpreter, Target
from pypm.paths import Cache
from pypm.store.adoption import Expected
from pypm.store.unpacker import Unpacker, UnpackLimits

REGULAR = stat.S_IFREG | 0o644


@dataclass
class Entry:
    """One zip entry; every `local_*` field lets its local header say something else than the directory."""

    name: str
    content: bytes = b""
    attributes: int = REGULAR << 16
    flags: int | None = None
    method: int = 8
    crc: int | None = None
    size: int | None = None
    raw_name: bytes | None = None
    extra: bytes = b""
    local_name: bytes | None = None
    local_size: int | None = None
    local_crc: int | None = None
    local_method: int | None = None
    local_extra: bytes = b""
    descriptor: bool = False
    before: bytes = b""
    """Bytes that belong to no entry, before this one."""
    packed: bytes | None = None


def make_zip(
    entries: Iterable[Entry], *, comment: bytes = b"", prefix: bytes = b"", suffix: bytes = b""
) -> bytes:
    """Return the archive's bytes."""
    archive = bytearray(prefix)
    directory = bytearray()
    count = 0
    for entry in entries:
        archive += entry.before
        count += 1
        raw_name = entry.raw_name if entry.raw_name is not None else entry.name.encode()
        flags = entry.flags if entry.flags is not None else (0 if raw_name.isascii() else 1 << 11)
        flags |= 8 if entry.descriptor else 0
        packed = entry.packed if entry.packed is not None else pack(entry.content, entry.method)
        crc = zlib.crc32(entry.content) if entry.crc is None else entry.crc
        size = len(entry.content) if entry.size is None else entry.size
        sizes = (0, 0, 0) if entry.descriptor else (crc, len(packed), size)
        local_crc = sizes[0] if entry.local_crc is None else entry.local_crc
        local_size = sizes[2] if entry.local_size is None else entry.local_size
        local_name = raw_name if entry.local_name is None else entry.local_name
        local_method = entry.method if entry.local_method is None else entry.local_method
        offset = len(archive)
        archive += struct.pack(
            "<4s5H3L2H",
            b"PK\3\4", 20, flags, local_method, 0, 0x21, local_crc, sizes[1], local_size,
            len(local_name), len(entry.local_extra),
        )  # fmt: skip
        archive += local_name + entry.local_extra + packed
        if entry.descriptor:
            archive += struct.pack("<4s3L", b"PK\7\x08", crc, len(packed), size)
        directory += struct.pack(
            "<4s6H3L5H2L",
            b"PK\1\2", (3 << 8) | 20, 20, flags, entry.method, 0, 0x21, crc, len(packed), size,
            len(raw_name), len(entry.extra), 0, 0, 0, entry.attributes, offset,
        )  # fmt: skip
        directory += raw_name + entry.extra
    start = len(archive)
    archive += directory
    archive += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), start, len(comment))
    return bytes(archive + comment + suffix)


def pack(content: bytes, method: int) -> bytes:
    if method == 0:
        return content
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    return deflate.compress(content) + deflate.flush()


def record_row(path: str, content: bytes, algorithm: str = "sha256") -> str:
    digest = base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest()).rstrip(b"=").decode()
    return f"{path},{algorithm}={digest},{len(content)}"


@dataclass
class WheelBuilder:
    """A wheel as files; `build` adds METADATA, WHEEL and RECORD where they are not given."""

    name: str = "demo"
    version: str = "1.0"
    files: Mapping[str, bytes] = field(default_factory=lambda: {"demo/__init__.py": b"VALUE = 42\n"})
    data: Mapping[str, bytes] = field(default_factory=dict)
    """Files of the `.data` folder: `scripts/tool`, `data/share/x`, `headers/x.h`, `purelib/...`."""
    entry_points: str = ""
    executable: frozenset[str] = frozenset()
    record: str | None = None
    record_extra: str = ""
    metadata: str | None = None
    wheel_file: str = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    extra_entries: tuple[Entry, ...] = ()
    """Written behind the regular entries and not named in RECORD."""
    stored: bool = False

    @property
    def stem(self) -> str:
        return f"{self.name.replace('-', '_')}-{self.version}"

    @property
    def filename(self) -> str:
        return f"{self.stem}-py3-none-any.whl"

    def contents(self) -> dict[str, bytes]:
        info = f"{self.stem}.dist-info"
        metadata = self.metadata
        if metadata is None:
            metadata = f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n"
        contents = dict(self.files)
        contents |= {f"{self.stem}.data/{path}": content for path, content in self.data.items()}
        contents[f"{info}/METADATA"] = metadata.encode()
        contents[f"{info}/WHEEL"] = self.wheel_file.encode()
        if self.entry_points:
            contents[f"{info}/entry_points.txt"] = self.entry_points.encode()
        return contents

    def record_text(self) -> str:
        if self.record is not None:
            return self.record
        rows = [record_row(path, content) for path, content in self.contents().items()]
        return "\n".join([*rows, f"{self.stem}.dist-info/RECORD,,"]) + "\n" + self.record_extra

    def entries(self) -> list[Entry]:
        contents = self.contents() | {f"{self.stem}.dist-info/RECORD": self.record_text().encode()}
        method = 0 if self.stored else 8
        return [
            Entry(
                path,
                content,
                (stat.S_IFREG | (0o755 if path in self.executable else 0o644)) << 16,
                method=method,
            )
            for path, content in contents.items()
        ]

    def to_bytes(self) -> bytes:
        return make_zip([*self.entries(), *self.extra_entries])

    def build(self, folder: Path, content: bytes | None = None) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.filename
        path.write_bytes(self.to_bytes() if content is None else content)
        return path

    def replaced(self, name: str, **changes: object) -> bytes:
        """Return the archive with one entry changed."""
        return make_zip(
            dataclasses.replace(entry, **changes) if entry.name == name else entry  # type: ignore[arg-type]
            for entry in [*self.entries(), *self.extra_entries]
        )


def expected(archive: Path, name: str = "demo", version: str | None = "1.0") -> Expected:
    return Expected(
        name=NormalizedName(canonicalize_name(name)), version=version, sha256=sha256_file(archive)
    )


@dataclass
class PlainWorker:
    """The inside as an ordinary child process: for tests of the store, never for the product."""

    process: subprocess.Popen[bytes]

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


class PlainRunner:
    """Starts workers without a sandbox and counts them."""

    def __init__(self) -> None:
        self.started = 0

    def start(
        self, argv: tuple[str, ...], *, readable: tuple[Path, ...], writable: tuple[Path, ...]
    ) -> PlainWorker:
        self.started += 1
        return PlainWorker(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={}))


def interpreter() -> Interpreter:
    """Describe the interpreter that runs the tests, without asking anybody."""
    major, minor, micro = sys.version_info[:3]
    executable = Path(sys.base_prefix, "bin", f"python{major}.{minor}").resolve()
    return Interpreter(
        executable=executable,
        version=f"{major}.{minor}.{micro}",
        implementation="cpython",
        cache_tag=f"cpython-{major}{minor}",
        base_prefix=Path(sys.base_prefix),
        exec_prefix=Path(sys.base_exec_prefix),
        stdlib=Path(sys.base_prefix, "lib", f"python{major}.{minor}"),
        include=Path(sys.base_prefix, "include", f"python{major}.{minor}"),
        platform="linux-x86_64",
        library_paths=(),
        target=Target(marker_environment={}, tags=()),
        identity="cpython test",
    )


def unpacker(
    cache: Cache, *folders: Path, runner: PlainRunner | None = None, limits: UnpackLimits | None = None
) -> Unpacker:
    return Unpacker(
        runner or PlainRunner(), interpreter(), readable=folders, writable=cache.scratch, limits=limits
    )

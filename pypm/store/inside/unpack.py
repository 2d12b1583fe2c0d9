"""Unpack one wheel into an empty staging folder, verifying every byte on its way."""

# Descriptors and text paths: `pathlib` would double the time of a wheel of small files.
# ruff: noqa: PTH102, PTH120

from __future__ import annotations

import hashlib
import os
import threading
from typing import Any, NamedTuple

from .archive import Archive, Limits, Member
from .layout import Scheme, Wheel, check_places, find_wheel, is_unhashed, place, startup_carrier
from .metadata import Row, check_wheel_file, headers, parse_entry_points, parse_record
from .refusal import Refusal

_METADATA_LIMIT_BYTES = 64 << 20
_THREADS_FROM_BYTES = 32 << 20
"""Below this, starting threads costs more than inflating beside writing saves."""
_PYTHON_LINES = (b"#!python", b"#!pythonw")


class File(NamedTuple):
    """One unpacked file."""

    archive_path: str
    path: str
    """Below the staging folder: `prefix/...` or `scripts/...`."""
    mode: int
    size_bytes: int
    sha256: str


class Request(NamedTuple):
    """What the host asks for."""

    archive: str
    staging: str
    scheme: Scheme
    limits: Limits
    mtime_ns: int
    threads: int


def unpack(request: Request) -> dict[str, Any]:
    """Unpack `archive` and return the answer for the host; raise `Refusal` for anything out of order."""
    with Archive(request.archive, request.limits) as archive:
        members = {member.name: member for member in archive.members}
        wheel = find_wheel(members)
        rows = _verified_rows(archive, members, wheel)
        about = headers(_metadata_file(archive, members, wheel, "METADATA"), "METADATA")
        check_wheel_file(_metadata_file(archive, members, wheel, "WHEEL"))
        entry_points = []
        if wheel.dist_info + "/entry_points.txt" in members:
            content = _metadata_file(archive, members, wheel, "entry_points.txt")
            entry_points = parse_entry_points(content)
        jobs = _jobs(archive, wheel, request.scheme)
        programs = [f"{request.scheme.programs}/{name}" for name, _, _, _ in entry_points]
        check_places([path for _, path, _ in jobs] + programs)
        files = _Writer(archive, rows, request).write(jobs)
    return {
        "stem": wheel.stem,
        "name": about.get("name", ""),
        "version": about.get("version", ""),
        "entry_points": entry_points,
        "startup": _startup(jobs, entry_points, request.scheme),
        "files": files,
    }


def _metadata_file(archive: Archive, members: dict[str, Member], wheel: Wheel, name: str) -> bytes:
    path = wheel.dist_info + "/" + name
    if path not in members:
        raise Refusal("dist-info", f"the wheel has no `{path}`")
    return archive.read(members[path], _METADATA_LIMIT_BYTES)


def _verified_rows(archive: Archive, members: dict[str, Member], wheel: Wheel) -> dict[str, Row]:
    """Return RECORD's rows; they must name every file, no other file, and its size."""
    rows = parse_record(_metadata_file(archive, members, wheel, "RECORD"), wheel)
    for name, member in members.items():
        if is_unhashed(name, wheel):
            continue
        row = rows.get(name)
        if row is None:
            raise Refusal("incomplete-record", f"RECORD does not vouch for `{name}`")
        if row.size_bytes is not None and row.size_bytes != member.size_bytes:
            raise Refusal("record-mismatch", f"`{name}` has not the size that RECORD gives")
    for path in rows:
        if path not in members:
            raise Refusal("incomplete-record", f"RECORD names `{path}`, which the wheel does not have")
    return rows


def _jobs(archive: Archive, wheel: Wheel, scheme: Scheme) -> list[tuple[Member, str, bool]]:
    """Return (member, path below the environment, whether it is a script) for what is installed."""
    return [
        (member, *place(member.name, wheel, scheme))
        for member in archive.members
        if not is_unhashed(member.name, wheel)
    ]


def _startup(
    jobs: list[tuple[Member, str, bool]], entry_points: list[tuple[str, str, str, bool]], scheme: Scheme
) -> list[str]:
    paths = [path for _, path, _ in jobs] + [f"{scheme.programs}/{name}" for name, _, _, _ in entry_points]
    return sorted(path for path in paths if startup_carrier(path, scheme))


class _Writer:
    """Writes the members below the staging folder, large wheels with several threads.

    zlib, hashing, reading and writing all release the interpreter's lock, so threads keep two cores busy
    without the memory and the pipes of a second process.
    """

    def __init__(self, archive: Archive, rows: dict[str, Row], request: Request) -> None:
        self._archive = archive
        self._rows = rows
        self._staging = request.staging
        self._mtime_ns = request.mtime_ns
        total_bytes = sum(member.size_bytes for member in archive.members)
        self._threads = request.threads if total_bytes >= _THREADS_FROM_BYTES else 1
        self._folders = {request.staging}
        self._lock = threading.Lock()
        self._failure: list[BaseException] = []

    def write(self, jobs: list[tuple[Member, str, bool]]) -> list[File]:
        for _, path, _ in jobs:
            self._make_folder(os.path.dirname(f"{self._staging}/prefix/{path}"))
        self._make_folder(self._staging + "/prefix")
        if any(is_script for _, _, is_script in jobs):
            self._make_folder(self._staging + "/scripts")
        done: list[File] = []
        # The largest first: a thread that meets a gigabyte last would work alone.
        pending = sorted(jobs, key=lambda job: job[0].size_bytes)
        threads = [
            threading.Thread(target=self._drain, args=(pending, done)) for _ in range(self._threads - 1)
        ]
        for thread in threads:
            thread.start()
        self._drain(pending, done)
        for thread in threads:
            thread.join()
        if self._failure:
            raise self._failure[0]
        return sorted(done)

    def _make_folder(self, path: str) -> None:
        if path not in self._folders:
            self._make_folder(os.path.dirname(path))
            os.mkdir(path, 0o755)
            self._folders.add(path)

    def _drain(self, pending: list[tuple[Member, str, bool]], done: list[File]) -> None:
        while not self._failure:
            try:
                member, path, is_script = pending.pop()
            except IndexError:
                return
            try:
                done.append(self._write_member(member, path, is_script))
            except BaseException as error:
                self._failure.append(error)

    def _write_member(self, member: Member, path: str, is_script: bool) -> File:
        chunks = self._archive.chunks(member)
        first = next(chunks, b"")
        mode = 0o555 if is_script or member.mode & 0o111 else 0o444
        # Only what has an interpreter line to rewrite is kept apart; a compiled program is linked as it is.
        rewritten = is_script and first.split(b"\n", 1)[0].split(b" ", 1)[0].rstrip() in _PYTHON_LINES
        path = "scripts/" + path.partition("/")[2] if rewritten else "prefix/" + path
        row = self._rows[member.name]
        sha256 = hashlib.sha256()
        other = None if row.algorithm == "sha256" else hashlib.new(row.algorithm)
        descriptor = os.open(f"{self._staging}/{path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            chunk = first
            while chunk:
                sha256.update(chunk)
                if other is not None:
                    other.update(chunk)
                _write_all(descriptor, chunk)
                chunk = next(chunks, b"")
            os.utime(descriptor, ns=(self._mtime_ns, self._mtime_ns))
        finally:
            os.close(descriptor)
        if (other or sha256).digest() != row.digest:
            raise Refusal("record-mismatch", f"`{member.name}` has not the hash that RECORD gives")
        return File(member.name, path, mode, member.size_bytes, sha256.hexdigest())


def _write_all(descriptor: int, content: bytes) -> None:
    written = os.write(descriptor, content)
    while written < len(content):
        content = content[written:]
        written = os.write(descriptor, content)

"""Unpacks one source archive; a program of its own that runs inside the sandbox.

It imports the standard library alone and runs on any interpreter that pypm supports, so it does not lean on
`tarfile`'s extraction filters, which older patch releases lack: it reads the archive's entries and makes
every file itself. The sandbox is the wall; these checks are what turns a hostile archive into a clear error.

Started as `python -I -S -B inside_unpack.py ARCHIVE STAGING LIMITS`, with `LIMITS` as JSON. It prints one
JSON object: `{"top": NAME, "newest": SECONDS}`, or `{"refused": SENTENCE}` with exit status 3.

Source: PEP 625 (one top folder), PEP 706 (the `data` filter, whose rules these are).
"""

# Paths of an archive are text: `pathlib` would normalise what is to be judged as it is written.
# ruff: noqa: PTH102, PTH116, PTH118, PTH211

from __future__ import annotations

import json
import os
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple, NoReturn

CHUNK_SIZE_BYTES = 1 << 20


class RefusedError(Exception):
    """The archive is not one that a build may use; the message says which entry and why."""


class Limits(NamedTuple):
    """How much an archive may grow to."""

    total_bytes: int
    entries: int
    ratio: int
    """Unpacked bytes for one packed byte, once `free_bytes` are passed."""
    free_bytes: int
    """Below this total the ratio is not looked at: small sources compress very well."""


class Entry(NamedTuple):
    """One thing in the archive, whatever its format."""

    name: str
    kind: str
    """`file`, `folder`, `symlink` or `copy` (a hard link, unpacked as a copy of its target)."""
    executable: bool
    modified: int
    """Seconds since the epoch, zero or later."""
    size_bytes: int
    target: str
    content: IO[bytes] | None


def main(arguments: list[str]) -> int:
    """Unpack, print the answer, give the exit status."""
    archive, staging, limits = arguments
    try:
        answer = unpack(archive, staging, Limits(**json.loads(limits)))
    except RefusedError as refusal:
        say({"refused": str(refusal)})
        return 3
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        UnicodeError,
        NotImplementedError,
    ) as error:
        say({"refused": f"it cannot be read as an archive ({error})"})
        return 3
    say(answer)
    return 0


def say(answer: dict[str, object]) -> None:
    """Give the answer to whoever started this program: one line."""
    sys.stdout.write(json.dumps(answer) + "\n")


def unpack(archive: str, staging: str, limits: Limits) -> dict[str, object]:
    """Write every entry below `staging`; give the one top folder and the newest time of a file."""
    os.umask(0o022)
    packed_bytes = os.stat(archive).st_size
    ceiling = min(limits.total_bytes, max(limits.free_bytes, packed_bytes * limits.ratio))
    tops: set[str] = set()
    times: list[tuple[str, int]] = []
    written_bytes = newest = 0
    for count, entry in enumerate(entries(archive), start=1):
        if count > limits.entries:
            raise RefusedError(f"it holds more than {limits.entries} entries")
        parts = checked_parts(entry.name)
        if not parts:
            continue
        tops.add(parts[0])
        if len(tops) > 1 or (len(parts) == 1 and entry.kind != "folder"):
            raise RefusedError(f"`{entry.name}` lies beside the one top folder that an sdist has")
        written_bytes += entry.size_bytes
        if written_bytes > ceiling:
            raise RefusedError(f"it unpacks to more than {ceiling} bytes out of {packed_bytes}")
        place = make(staging, parts, entry)
        if entry.kind == "copy":
            written_bytes += os.lstat(place).st_size
        if entry.kind == "file":
            newest = max(newest, entry.modified)
            times.append((place, entry.modified))
    if not tops:
        raise RefusedError("it is empty")
    for place, modified in times:
        os.utime(place, (modified, modified), follow_symlinks=False)
    return {"top": tops.pop(), "newest": newest}


def entries(archive: str) -> Iterator[Entry]:
    """Read an archive of either format, in its own order."""
    if zipfile.is_zipfile(archive):
        yield from zip_entries(archive)
    else:
        yield from tar_entries(archive)


def tar_entries(archive: str) -> Iterator[Entry]:
    """Read a tar archive as a stream, so that a bomb is noticed while it unfolds."""
    with tarfile.open(archive, "r|*", errorlevel=2) as tar:
        for member in tar:
            modified = max(int(member.mtime), 0)
            executable = bool(member.mode & stat.S_IXUSR)
            if member.issparse():
                raise RefusedError(f"`{member.name}` is a sparse file")
            if not member.isdir():
                check_mode(member.name, member.mode)
            if member.isreg():
                content = tar.extractfile(member)
                yield Entry(member.name, "file", executable, modified, member.size, "", content)
            elif member.isdir():
                yield Entry(member.name, "folder", True, modified, 0, "", None)
            elif member.issym():
                yield Entry(member.name, "symlink", False, modified, 0, member.linkname, None)
            elif member.islnk():
                yield Entry(member.name, "copy", executable, modified, 0, member.linkname, None)
            else:
                raise RefusedError(f"`{member.name}` is a device, a pipe or of an unknown type")


def zip_entries(archive: str) -> Iterator[Entry]:
    """Read a zip archive, the older format of sdists; links have no place in it."""
    with zipfile.ZipFile(archive) as container:
        for info in container.infolist():
            mode = info.external_attr >> 16
            if info.flag_bits & 0x1:
                raise RefusedError(f"`{info.filename}` is encrypted")
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise RefusedError(f"`{info.filename}` is a link or a device in a zip archive")
            kind = "folder" if info.is_dir() else "file"
            if kind == "file":
                check_mode(info.filename, mode)
            executable = bool(mode & stat.S_IXUSR)
            # A zip's times have no zone; taken as UTC they are at least the same on every machine.
            modified = max(int(seconds_utc(info.date_time)), 0)
            content = None if kind == "folder" else container.open(info)
            yield Entry(info.filename, kind, executable, modified, info.file_size, "", content)


def check_mode(name: str, mode: int) -> None:
    """Refuse a file that would run as its owner; a folder's bit is how shared groups work, and is dropped."""
    if mode & (stat.S_ISUID | stat.S_ISGID):
        raise RefusedError(f"`{name}` has the set-user-id or the set-group-id bit")


def seconds_utc(date_time: tuple[int, int, int, int, int, int]) -> int:
    """Seconds since the epoch of a zip entry's date; zero where the date is none."""
    import calendar

    try:
        return calendar.timegm((*date_time, 0, 1, 0))
    except (ValueError, OverflowError):
        return 0


def checked_parts(name: str) -> tuple[str, ...]:
    """Split a path of the archive, refusing whatever does not lie below the top folder."""
    if "\0" in name or "\\" in name or len(name.encode("utf-8", "surrogateescape")) > 1024:
        raise RefusedError(f"`{name[:80]}` is not a path that a file could have on every system")
    if name.startswith("/"):
        raise RefusedError(f"`{name}` is an absolute path")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise RefusedError(f"`{name}` leads out of the archive")
    return parts


def make(staging: str, parts: tuple[str, ...], entry: Entry) -> str:
    """Make one entry below `staging`; give its path."""
    folder = staging
    for part in parts[:-1]:
        folder = os.path.join(folder, part)
        make_folder(folder, entry.name)
    place = os.path.join(folder, parts[-1])
    if entry.kind == "folder":
        make_folder(place, entry.name)
        return place
    if os.path.lexists(place):
        raise RefusedError(f"`{entry.name}` appears twice")
    if entry.kind == "symlink":
        check_link(parts, entry)
        os.symlink(entry.target, place)
    elif entry.kind == "copy":
        copy_link(staging, place, entry)
    else:
        write(place, entry)
    return place


def make_folder(place: str, name: str) -> None:
    """Make a folder unless it is there; a link in its place would lead writes elsewhere."""
    try:
        os.mkdir(place, 0o755)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(place).st_mode):
            raise RefusedError(f"`{name}` lies below something that is no folder") from None


def check_link(parts: tuple[str, ...], entry: Entry) -> None:
    """A symbolic link must stay below the top folder.

    Steps up are taken at the start only: there they leave real folders, so counting them is exact. After a
    name, which may be a link itself, `..` would start from wherever that link leads.
    """
    steps = [part for part in entry.target.split("/") if part not in ("", ".")]
    ups = 0
    while ups < len(steps) and steps[ups] == "..":
        ups += 1
    below_top = len(parts) - 2
    if (
        not steps
        or entry.target.startswith("/")
        or "\0" in entry.target
        or ups > below_top
        or ".." in steps[ups:]
    ):
        out(entry)


def out(entry: Entry) -> NoReturn:
    """Refuse a link that leads out."""
    raise RefusedError(f"`{entry.name}` is a link out of the archive, to `{entry.target}`")


def copy_link(staging: str, place: str, entry: Entry) -> None:
    """Unpack a hard link as a copy of a regular file that was unpacked before."""
    source = os.path.join(staging, *checked_parts(entry.target))
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        out(entry)
    with os.fdopen(descriptor, "rb") as content:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            out(entry)
        write(place, entry._replace(content=content, size_bytes=status.st_size))


def write(place: str, entry: Entry) -> None:
    """Write a regular file of exactly the size that the archive announces."""
    mode = 0o755 if entry.executable else 0o644
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    remaining = entry.size_bytes
    with os.fdopen(os.open(place, flags, mode), "wb") as sink:
        while entry.content is not None and (
            chunk := entry.content.read(min(CHUNK_SIZE_BYTES, remaining + 1))
        ):
            remaining -= len(chunk)
            if remaining < 0:
                break
            sink.write(chunk)
    if remaining:
        raise RefusedError(f"`{entry.name}` is not as long as the archive says")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""File names of wheels and source distributions, parsed fast enough for pages with thousands of them.

As strict as `packaging.utils`, against which the tests hold it, and never laxer; the difference is what is
remembered. A page repeats the same few versions and tags over and over, so both are parsed once.

Source: the binary and source distribution format specifications; PEP 425, PEP 440, PEP 625.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

SDIST_EXTENSIONS = (".tar.gz", ".zip")

_MAX_NAME_BYTES = 255
"""No file system of ours stores longer names (NAME_MAX)."""

_MAX_TAGS = 4096
"""A compressed tag set multiplies; real ones stay below a hundred."""

_PROJECT_NAME = re.compile(r"[\w.]+")
_BUILD = re.compile(r"(\d+)(.*)", re.ASCII)
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]")


class WheelName(NamedTuple):
    """The parts of a wheel's file name. A named tuple: pages hold thousands."""

    name: NormalizedName
    version: Version
    build: tuple[()] | tuple[int, str]
    """Sorts after the version: the higher build of equal wheels is preferred."""
    tags: str
    """As written (`py2.py3-none-any`); `expand_tags` multiplies it out."""


class SdistName(NamedTuple):
    """The parts of a source distribution's file name."""

    name: NormalizedName
    version: Version


def parse_wheel_name(filename: str) -> WheelName | None:
    """Return the parts of a wheel's file name, or None when it is not a valid one.

    None rather than an exception: a page may list thousands of files that are no wheels.
    """
    if not filename.endswith(".whl") or len(filename) > _MAX_NAME_BYTES:
        return None
    # The parts are checked one by one, and remembered; together they leave no room for an unsafe name.
    parts = filename[:-4].split("-")
    if len(parts) == 5:
        name_part, version_part, *tag_parts = parts
        build: tuple[()] | tuple[int, str] = ()
    elif len(parts) == 6:
        name_part, version_part, build_part, *tag_parts = parts
        match = _BUILD.match(build_part)
        if match is None or len(match[1]) > 18 or not is_safe_filename(build_part):
            return None
        build = (int(match[1]), match[2])
    else:
        return None
    name = _wheel_project(name_part)
    version = parse_version(version_part)
    tags = "-".join(tag_parts)
    if name is None or version is None or not _is_tag_set(tags):
        return None
    return WheelName(name, version, build, tags)


def parse_sdist_name(filename: str) -> SdistName | None:
    """Return the parts of a source distribution's file name, or None when it is not a valid one."""
    for extension in SDIST_EXTENSIONS:
        if filename.endswith(extension):
            break
    else:
        return None
    name_part, _, version_part = filename[: -len(extension)].rpartition("-")
    if not name_part or not is_safe_filename(filename):
        return None
    version = parse_version(version_part)
    if version is None:
        return None
    return SdistName(_canonical(name_part), version)


def version_in_name(filename: str, project: NormalizedName) -> Version | None:
    """Return the version in the name of a project's wheel or sdist; None where it is not one of the project.

    The same judgement as that of `parse_wheel_name` and `parse_sdist_name`, and nothing else of theirs: a
    page's files are sorted by it.
    """
    if filename.endswith(".whl"):
        parts = filename[:-4].split("-")
        if len(parts) != 5:
            parsed = parse_wheel_name(filename)
            return None if parsed is None or parsed.name != project else parsed.version
        name_part, version_part, interpreters, abis, platforms = parts
        if _wheel_project(name_part) != project or len(filename) > _MAX_NAME_BYTES:
            return None
        return parse_version(version_part) if _is_tag_triple(interpreters, abis, platforms) else None
    sdist = parse_sdist_name(filename)
    return None if sdist is None or sdist.name != project else sdist.version


def versions_in_names(filenames: Sequence[str], project: NormalizedName) -> list[Version | None]:
    """Return `version_in_name` of every name. Fast where the files of one version stand together.

    Such a row repeats the name and the version, and its tags are those of the versions around it; before or
    after the wheels stands the source distribution.
    """
    found: list[Version | None] = []
    endings: set[str] = set()
    prefix = "\n"
    sdists: tuple[str, ...] = ()
    version = None
    for filename in filenames:
        if filename in sdists or (filename.startswith(prefix) and filename[len(prefix) :] in endings):
            found.append(version if len(filename) <= _MAX_NAME_BYTES else None)
            continue
        one = version_in_name(filename, project)
        found.append(one)
        if one is not None and filename.endswith(".whl") and filename.count("-") == 4:
            name, written, ending = filename.split("-", 2)
            prefix, version = f"{name}-{written}-", one
            sdists = (f"{name}-{written}.tar.gz", f"{project}-{written}.tar.gz")
            endings.add(ending)
    return found


@lru_cache(maxsize=1 << 14)
def parse_version(text: str) -> Version | None:
    """Return the version, the same object for the same text; None when it is none or has spaces."""
    if text != text.strip():
        return None
    try:
        return Version(text)
    except ValueError:  # `InvalidVersion`, or a number of thousands of digits, which Python does not read
        return None


@lru_cache(maxsize=4096)
def expand_tags(tags: str) -> frozenset[str]:
    """Multiply a compressed tag set out: `py2.py3-none-any` is `py2-none-any` and `py3-none-any`.

    `tags` is the field of a name that `parse_wheel_name` accepted.
    """
    interpreters, abis, platforms = (part.split(".") for part in tags.lower().split("-"))
    return frozenset(
        f"{interpreter}-{abi}-{platform}"
        for interpreter in interpreters
        for abi in abis
        for platform in platforms
    )


def filename_of_url(url: str) -> str:
    """Return the last path segment of a URL, percent-decoded, without query and fragment; possibly empty."""
    segment = url.partition("#")[0].partition("?")[0].rpartition("/")[2]
    return unquote(segment) if "%" in segment else segment


def is_safe_filename(filename: str) -> bool:
    """Tell whether a name from outside can be used as the name of one file in a folder, nothing else."""
    return (
        bool(filename)
        and filename not in (".", "..")
        and (filename.isascii() or filename.isprintable())
        and len(filename.encode("utf-8", "surrogatepass")) <= _MAX_NAME_BYTES
        and _UNSAFE.search(filename) is None
    )


_canonical = lru_cache(maxsize=4096)(canonicalize_name)


@lru_cache(maxsize=4096)
def _wheel_project(text: str) -> NormalizedName | None:
    if "__" in text or _PROJECT_NAME.fullmatch(text) is None:
        return None
    return canonicalize_name(text)


@lru_cache(maxsize=1 << 14)
def _is_tag_triple(interpreters: str, abis: str, platforms: str) -> bool:
    return _is_tag_set(f"{interpreters}-{abis}-{platforms}")


@lru_cache(maxsize=4096)
def _is_tag_set(tags: str) -> bool:
    parts = [part.split(".") for part in tags.split("-")]
    if any("" in part for part in parts) or not is_safe_filename(tags):
        return False
    interpreters, abis, platforms = parts
    if len(interpreters) * len(abis) * len(platforms) > _MAX_TAGS:
        return False
    return all(interpreter.isidentifier() for interpreter in interpreters)

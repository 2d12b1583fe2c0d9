"""pip's requirements files, as far as a project can take them over.

Source: pip's documentation of the requirements file format.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from pypm.codec.requirements import canonical_requirement, parse_requirement
from pypm.codec.shape import Problems
from pypm.errors import ConfigurationError

_COMMENT = re.compile(r"(^|\s+)#.*$")
_OPTION = re.compile(r"(?P<name>--?[a-zA-Z][a-z-]*)(?:\s*=\s*|\s+|(?<=-[a-zA-Z]))(?P<value>.*)")
_HASH = re.compile(r"\s+--hash[=\s]\s*\S+")
_PER_REQUIREMENT_OPTION = re.compile(
    r"\s+--(?:config-settings?|global-option|build-option|install-option)[=\s].*"
)
_LONG_NAMES = {
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
    "-i": "--index-url",
    "-f": "--find-links",
    "--pypi-url": "--index-url",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequirementsFile:
    """What a requirements file and those it includes ask for."""

    requirements: tuple[Requirement, ...]
    """In the order written, repeated ones once."""
    constraints: tuple[Requirement, ...]
    index_url: str | None
    extra_index_urls: tuple[str, ...]
    find_links: tuple[str, ...]
    notes: tuple[str, ...]
    """What was left out, for the user to know: `requirements.txt:3: ...`."""


def parse_requirements_file(name: str, read: Callable[[str], str]) -> RequirementsFile:
    """Read a requirements file, and through `read` every file that it includes.

    Paths are relative to the file that includes them. Hashes are left out: the lock has its own.

    Raises:
        ConfigurationError: some lines are no requirements, or files include each other; `details` name all.
    """
    reader = _Reader(read)
    reader.file(name, (), is_constraint=False)
    reader.problems.raise_if_any()
    if reader.hashes:
        reader.notes.append(f"{reader.hashes} hashes were left out: the lock has its own")
    return RequirementsFile(
        requirements=tuple(reader.requirements.values()),
        constraints=tuple(reader.constraints.values()),
        index_url=reader.index_url,
        extra_index_urls=tuple(reader.extra_index_urls),
        find_links=tuple(reader.find_links),
        notes=tuple(reader.notes),
    )


class _Reader:
    def __init__(self, read: Callable[[str], str]) -> None:
        self.read = read
        self.problems = Problems("requirements file")
        self.requirements: dict[str, Requirement] = {}
        self.constraints: dict[str, Requirement] = {}
        self.index_url: str | None = None
        self.extra_index_urls: list[str] = []
        self.find_links: list[str] = []
        self.notes: list[str] = []
        self.hashes = 0

    def file(self, name: str, parents: tuple[str, ...], *, is_constraint: bool) -> None:
        if name in parents:
            self.problems.add(
                parents[-1], f"files include each other in a circle: {' -> '.join((*parents, name))}"
            )
            return
        for number, line in _logical_lines(self.read(name)):
            where = f"{name}:{number}"
            if line.startswith("-"):
                self._option(line, where, (*parents, name), is_constraint)
            else:
                self._requirement(line, where, is_constraint)

    def _requirement(self, line: str, where: str, is_constraint: bool) -> None:
        line, hashes = _HASH.subn("", line)
        line, options = _PER_REQUIREMENT_OPTION.subn("", line)
        self.hashes += hashes
        if options:
            self.notes.append(f"{where}: build options were left out")
        try:
            requirement = parse_requirement(line, where=where)
        except ConfigurationError as error:
            hint = f" (hint: {error.hint})" if error.hint else ""
            self.problems.found.append(f"{error.message}{hint}")
            return
        found = self.constraints if is_constraint else self.requirements
        found.setdefault(canonical_requirement(requirement), requirement)

    def _option(self, line: str, where: str, files: tuple[str, ...], is_constraint: bool) -> None:
        match = _OPTION.fullmatch(line)
        name, value = (match["name"], match["value"].strip()) if match else (line, "")
        name = _LONG_NAMES.get(name, name)
        if name in ("--requirement", "--constraint"):
            included = posixpath.normpath(posixpath.join(posixpath.dirname(files[-1]), value))
            self.file(included, files, is_constraint=is_constraint or name == "--constraint")
        elif name == "--index-url":
            self.index_url = self._address(value, where)
        elif name == "--extra-index-url":
            self.extra_index_urls.append(self._address(value, where))
        elif name == "--find-links":
            self.find_links.append(self._address(value, where))
        elif name == "--editable":
            self.notes.append(f"{where}: `{value}` was left out; name it in `[tool.pypm.sources]`")
        else:
            self.notes.append(f"{where}: `{name}` was left out")

    def _address(self, url: str, where: str) -> str:
        parts = urlsplit(url)
        if "@" not in parts.netloc:
            return url
        self.notes.append(f"{where}: the credentials of the address were left out; keep them in `~/.netrc`")
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines without comments, those ending in a backslash joined, with the number of the first."""
    joined, start = "", 0
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        start = start or number
        if line.endswith("\\") and not _COMMENT.search(line):
            joined += line[:-1]
            continue
        logical = _COMMENT.sub("", joined + line).strip()
        if logical:
            yield start, logical
        joined, start = "", 0

"""Lines of requirements in a pyproject.toml."""

from __future__ import annotations

from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName

from pypm.codec.lines import requirement_lines

TEXT = r"""[project]
name = "p"
description = "not a requirement at all"
keywords = ["twice"]
dependencies = [
    "Some_Name[B,a] >=2, <3 ; python_version < '3.13'", # doesn't confuse
    "escaped>=1;python_version<\"3.11\"", 'literal==1',
    "twice",
]
"""


def test_lines_are_those_of_requirements_that_are_written_once() -> None:
    lines = requirement_lines(TEXT)

    def line(name: str, versions: str = "", *extras: str) -> int | None:
        key = NormalizedName(name), tuple(map(NormalizedName, extras)), SpecifierSet(versions)
        return lines.get(key)

    assert line("some-name", "<3,>=2", "a", "b") == 6
    assert line("escaped", ">=1") == 7
    assert line("literal", "==1") == 7
    assert line("twice") is None
    assert line("not") is None

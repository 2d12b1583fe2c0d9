"""What the documentation tells people to type and to open is there: commands, flags, programs, files."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pypm.cli.app import root as command_line

CHECKOUT = Path(__file__).resolve().parent.parent
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
ROOMS = [
    CHECKOUT / room
    for room in (".", "pypm", "sandbox", "sandbox/linux", "docs", "integration", "integration/escape/inside")
]
"""Pages name files as seen from one of these."""

INLINE = re.compile(r"`pypm ([^`]+)`")
CONSOLE = re.compile(r"^\$ (?:\w+=\S+ )*pypm (.*?)(?: #.*| && .*)?$", re.MULTILINE)
SOURCE_FILE = re.compile(
    r"`((?:pypm|sandbox|tests|integration|docs|linux|cli|codec|workflow)/[\w./-]+\.\w+)`"
)
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


def commands(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*path, name))


COMMANDS = dict(commands(command_line()))


def flags_of(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def problems_of(words: list[str]) -> Iterator[str]:
    """What pypm would not know of `lock -P NAME`; another program's words are none of its business."""
    path: tuple[str, ...] = ()
    known = flags_of(COMMANDS[()]) | {"--help", "-h"}
    for word in words:
        command = COMMANDS[path]
        if word.startswith("-"):
            name = word.partition("=")[0].rstrip(",;")
            if name not in known:
                yield f"`{' '.join(('pypm', *path))}` has no `{name}`"
        elif isinstance(command, click.Group):
            if re.fullmatch(r"[a-z-]+", word) is None:
                return  # A placeholder, such as `pypm CMD`.
            if (*path, word) not in COMMANDS:
                yield f"there is no `{' '.join(('pypm', *path, word))}`"
                return
            path = (*path, word)
            known |= flags_of(COMMANDS[path])
        elif not command.context_settings.get("allow_interspersed_args", True):
            return


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_shown_can_be_given(page: Path) -> None:
    text = page.read_text()
    lines = [*INLINE.findall(text), *CONSOLE.findall(text)]
    assert [problem for line in lines for problem in problems_of(line.split())] == []


def test_a_command_that_cannot_be_given_is_noticed() -> None:
    assert list(problems_of(["lock", "-P", "NAME", "--all"])) == ["`pypm lock` has no `--all`"]
    assert list(problems_of(["lok"])) == ["there is no `pypm lok`"]
    assert list(problems_of(["run", "--explain", "CMD", "--its-own"])) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_program_and_link_of_a_page_is_there(page: Path) -> None:
    text = page.read_text()
    files = [name for name in SOURCE_FILE.findall(text) if not any((room / name).exists() for room in ROOMS)]
    programs = {
        name.rstrip(".") for name in re.findall(r"python -m ((?:integration|pypm|sandbox)[\w.]*)", text)
    }
    missing = [name for name in sorted(programs) if importlib.util.find_spec(name) is None]
    targets = re.findall(r"^(\w+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    unmade = [name for name in re.findall(r"(?:`|^\$ )make (\w+)", text, re.MULTILINE) if name not in targets]
    assert (files, missing, unmade) == ([], [], [])
    for name, heading in LINK.findall(text):
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name} links to `{name}`"
        assert not heading or heading in headings(target), f"{page.name} links to `{name}#{heading}`"


def headings(page: Path) -> set[str]:
    """The anchors that the places where Markdown is read make of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def test_hints_name_commands_that_there_are() -> None:
    """Whoever follows one must not be told that there is no such command."""
    named = {
        (match[1], match[2])
        for path in (CHECKOUT / "pypm").rglob("*.py")
        for match in re.finditer(
            r"`pypm (self|cache|python|plugin|sandbox) ([a-z]+)", path.read_text("utf-8")
        )
    }
    assert named
    for group, command in named:
        commands = importlib.import_module(f"pypm.cli.commands.{group}").command.commands
        assert command in commands, f"`pypm {group} {command}`"

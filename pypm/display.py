"""Foreign text on the user's terminal: shown, and never obeyed.

Names come out of locks, indexes, archives, projects and plugins. An escape sequence in one could clear the
screen and write another message in our name, set the title or the clipboard; a bidirectional control could
let a path read as another one; the end of a line could begin a `hint:` of its own.
"""

from __future__ import annotations

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def harmless(text: str, *, keep: str = "") -> str:
    """Return the text with every character replaced that a terminal might obey or that shows nothing.

    Replaced are controls, format characters (bidirectional ones among them), surrogates, and what Unicode
    has not assigned; separators become a space. Those in `keep` stay.

    Source: `str.isprintable`; Unicode Technical Report 36, "Bidirectional Text Spoofing".
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character in keep or character.isprintable()
        else " "
        if character.isspace()
        else REPLACEMENT
        for character in text
    )


def harmless_lines(text: str, *, indent: str = "  ") -> str:
    """Return the same where lines may end: the next ones are indented, so that none begins a message."""
    if "\n" not in text:
        return harmless(text)
    return f"\n{indent}".join(harmless(line) for line in text.split("\n"))

"""What the guard makes of any events: it never fails or waits, and trusts nothing that it did not see."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.linux import constants as c
from sandbox.linux import guard_events
from sandbox.linux.guard_events import Events

FOLDERS = (("/p", (("kept", "/p/kept"), ("also", "/p/also"))), ("/p/.git", (("config", "/p/.git/config"),)))
GUARDED = {(1, "kept"): "/p/kept", (1, "also"): "/p/also", (2, "config"): "/p/.git/config"}
MASKS = (
    *(c.IN_OPEN, c.IN_CLOSE_WRITE, c.IN_MOVED_FROM, c.IN_MOVED_TO, c.IN_CREATE, c.IN_DELETE),
    *(c.IN_DELETE_SELF, c.IN_MOVE_SELF, c.IN_UNMOUNT, c.IN_Q_OVERFLOW),
)
HARMFUL_TO_FOLDERS = c.IN_DELETE_SELF | c.IN_MOVE_SELF | c.IN_UNMOUNT

Event = tuple[int, int, int, str]
"""Watched folder, mask, cookie, name."""

NAMES = st.sampled_from(("kept", "also", "config", ".kept.tmp", "other", "räksmörgås", "x" * 200))
FOREIGN_NAMES = st.sampled_from(("other", "more", "ünö"))
EVENTS = st.lists(
    st.tuples(
        st.integers(1, 2),
        st.lists(st.sampled_from(MASKS), min_size=1, max_size=2, unique=True).map(sum),
        st.integers(0, 3),
        NAMES,
    ),
    max_size=30,
)
NOISE = st.lists(
    st.tuples(
        st.integers(1, 2),
        st.sampled_from((c.IN_OPEN, c.IN_CLOSE_WRITE, c.IN_CREATE, c.IN_DELETE, c.IN_MOVED_FROM)),
        st.integers(100, 103),
        FOREIGN_NAMES,
    ),
    max_size=6,
)


def packed(events: Sequence[Event]) -> bytes:
    """As the kernel writes them: names are padded with zeros to a multiple of the header's size."""
    content = b""
    for folder, mask, cookie, name in events:
        padded = os.fsencode(name) + b"\0"
        padded += bytes(-len(padded) % 16)
        content += struct.pack("<iIII", folder, mask, cookie, len(padded)) + padded
    return content


@contextmanager
def watched(
    *, protects: bool = True, untouched: bool = True, read_only: bool = True
) -> Iterator[tuple[int, Events]]:
    """The parser on a pipe, beside a file system that answers as told."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        with (
            patch.object(guard_events, "_protect", lambda _: protects),
            patch.object(guard_events, "_is_untouched", lambda _: untouched),
            patch.object(guard_events, "_is_read_only", lambda _: read_only),
        ):
            yield writing, Events(reading, FOLDERS)
    finally:
        os.close(reading)
        os.close(writing)


def answer(events: Sequence[Event], **state: bool) -> str:
    with watched(**state) as (writing, parser):
        os.write(writing, packed(events))
        return parser.react()


@settings(deadline=None, max_examples=200)
@given(EVENTS, st.booleans(), st.booleans(), st.booleans(), st.integers(0, 30))
def test_any_events_are_answered_and_pieces_make_no_difference(
    events: list[Event], protects: bool, untouched: bool, read_only: bool, cut: int
) -> None:
    state = {"protects": protects, "untouched": untouched, "read_only": read_only}
    lost = answer(events, **state)
    assert lost in ("", *GUARDED.values(), "/p", "/p/.git")
    with watched(**state) as (writing, parser):
        os.write(writing, packed(events[:cut]))
        first = parser.react()
        os.write(writing, packed(events[cut:]))
        # What was lost stays lost, and what is lost at once is lost in two steps, too.
        assert bool(first or parser.react()) or not lost


@settings(deadline=None, max_examples=100)
@given(EVENTS, st.sampled_from(sorted(GUARDED)), st.sampled_from((c.IN_DELETE, c.IN_MOVED_FROM, c.IN_CREATE)))
def test_a_protected_name_that_goes_or_appears_is_lost(
    events: list[Event], key: tuple[int, str], mask: int
) -> None:
    assert answer([*events, (key[0], mask, 9, key[1])]) != ""


@settings(deadline=None, max_examples=50)
@given(NOISE)
def test_what_happens_to_other_names_loses_nothing(noise: list[Event]) -> None:
    assert answer(noise) == ""


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(sorted(GUARDED)), st.lists(NOISE, min_size=6, max_size=6), st.integers(0, 5))
def test_a_careful_replacement_is_accepted_and_one_more_opening_is_not(
    key: tuple[int, str], noise: list[list[Event]], at: int
) -> None:
    folder, name = key
    steps: list[Event] = [
        (folder, c.IN_CREATE, 0, ".tmp"),
        (folder, c.IN_OPEN, 0, ".tmp"),
        (folder, c.IN_CLOSE_WRITE, 0, ".tmp"),
        (folder, c.IN_MOVED_FROM, 7, ".tmp"),
        (folder, c.IN_MOVED_TO, 7, name),
    ]

    def mixed(steps: list[Event]) -> list[Event]:
        return [event for step, more in zip(steps, noise, strict=False) for event in (*more, step)]

    assert answer(mixed(steps)) == ""
    assert answer(mixed(steps), protects=False) == GUARDED[key]
    assert answer(mixed(steps), untouched=False) == GUARDED[key]
    another = [(folder, c.IN_OPEN, 0, ".tmp")]
    within = 1 + at % 3
    assert answer(mixed([*steps[:within], *another, *steps[within:]])) == GUARDED[key]
    # A file of which nobody saw how it came about, and one that another rename brought.
    assert answer(mixed(steps[1:])) == GUARDED[key]
    assert answer([*steps[:4], (folder, c.IN_MOVED_TO, 8, name)]) == GUARDED[key]


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(sorted(GUARDED)))
def test_after_an_overflow_nothing_is_trusted_any_more(key: tuple[int, str]) -> None:
    folder, name = key
    overflow = (-1, c.IN_Q_OVERFLOW, 0, "")
    steps = [
        (folder, c.IN_CREATE, 0, ".tmp"),
        (folder, c.IN_MOVED_FROM, 7, ".tmp"),
        (folder, c.IN_MOVED_TO, 7, name),
    ]
    assert answer([overflow], read_only=False) == "/p/kept"
    with watched() as (writing, parser):
        os.write(writing, packed([overflow]))
        assert parser.react() == ""
        os.write(writing, packed(steps))
        assert parser.react() == GUARDED[key]


def test_names_that_are_followed_are_bounded() -> None:
    with watched() as (writing, parser):
        for number in range(12_000):
            os.write(
                writing,
                packed([(1, c.IN_CREATE, 0, f"n{number}"), (1, c.IN_MOVED_FROM, number, f"m{number}")]),
            )
            if number % 100 == 0:
                assert parser.react() == ""
        parser.react()
        assert len(parser._uses) <= 4097 and len(parser._moves) <= 4097

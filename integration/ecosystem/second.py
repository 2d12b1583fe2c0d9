"""A second look at a difference: whether the peer, given our pins as constraints, locks them as well.

A project whose requirements conflict has many answers, and which one a resolver ends at depends on how it
goes back from each conflict. The peer's word that ours is an answer makes the difference one of taste; it
counts as explained when ours is also the newer one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from integration.ecosystem.contest import Result, Terms, theirs
from integration.ecosystem.pins import Pins, differences
from integration.ecosystem.question import Question


def accepts(question: Question, terms: Terms, ours: Result) -> bool:
    """Tell whether the peer locks our pins when they are its constraints."""
    assert ours.pins is not None
    document: dict[str, Any] = {**question.document}
    tools: Mapping[str, Any] = document.get("tool", {})
    settings = {**tools.get("uv", {})}
    settings["constraint-dependencies"] = [
        *settings.get("constraint-dependencies", ()),
        *ours.constraints,
    ]
    document["tool"] = {**tools, "uv": settings}
    answer = Result()
    theirs(replace(question, document=document), terms, answer)
    return answer.pins is not None and not differences(ours.pins, answer.pins)


def newer_and_older(ours: Pins, peers: Pins) -> tuple[int, int]:
    """Return how many packages have a newer version here than at the peer, and how many an older one."""
    both = [
        (max(ours[name]), max(peers[name]))
        for name in ours.keys() & peers.keys()
        if ours[name] and peers[name]
    ]
    return sum(our > their for our, their in both), sum(our < their for our, their in both)

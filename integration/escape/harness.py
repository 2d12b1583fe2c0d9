"""Lets attacks try, and judges what they reported and what they left behind."""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from integration.escape import less
from integration.escape.allowed import AllowedHost
from integration.escape.arena import HERE, Arena
from integration.escape.ways import WAYS, Way, bubblewrap

_LINE = re.compile(rb"@(begin|denied|escaped|works|broken|open|done)\|([^|\r\n]*)\|([^\r\n]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line that an attack reported, or that was seen outside afterwards."""

    verdict: str
    """`denied`, `escaped`, `works`, `broken`, or `silent` for an attack that did not come to its end; `less`
    for one of the last three where the rung promises no more; `open` for what no policy promises to deny."""
    name: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one attack by one way."""

    attack: str
    way: str
    checks: tuple[Check, ...]
    seconds: float
    limit: str = ""
    """Why nobody promises to deny it; nothing for an attack."""

    @property
    def verdict(self) -> str:
        """`denied` if everything was, else the worst."""
        found = {check.verdict for check in self.checks}
        for verdict in ("escaped", "broken", "silent", "less", "open"):
            if verdict in found:
                return verdict
        return "denied" if "denied" in found else "silent"


def attacks(names: Sequence[str] = ()) -> list[ModuleType]:
    """Every attack and after them every limit, or those that are named.

    Raises: SystemExit for a name that is none.
    """
    inside = str(HERE / "inside")
    if inside not in sys.path:
        sys.path.append(inside)
    known = {
        item.name: kind for kind in ("attacks", "limits") for item in pkgutil.iter_modules([str(HERE / kind)])
    }
    if unknown := set(names) - set(known):
        raise SystemExit(f"there is no attack {', '.join(sorted(unknown))}; known are: {', '.join(known)}")
    return [importlib.import_module(f"integration.escape.{known[name]}.{name}") for name in names or known]


def name_of(attack: ModuleType) -> str:
    """Its name in tables and on the command line."""
    return attack.__name__.rpartition(".")[2]


def limit_of(attack: ModuleType) -> str:
    """Why nobody promises to deny this; nothing for what must be denied."""
    return str(getattr(attack, "LIMIT", ""))


def lets_in(attack: ModuleType, way: str) -> bool:
    """Whether an attack makes sense by this way; most do by each."""
    return way in getattr(attack, "WAYS", (*WAYS, "bwrap"))


def needs_own(attack: ModuleType) -> bool:
    """Whether an attack wants a sandbox to itself: one with other flags, or one that it uses up."""
    return any(hasattr(attack, name) for name in ("outside", "FLAGS", "LISTED", "ALONE"))


def attempt_all(arena: Arena, chosen: Sequence[ModuleType], name: str) -> Iterator[Result]:
    """Let attacks try by one way: those that harm nothing in one sandbox, the others in one each."""
    way = Way(arena, name)
    able = [attack for attack in chosen if lets_in(attack, name)]
    together = [attack for attack in able if not needs_own(attack)]
    if together:
        yield from _attempt(arena, together, way)
    for attack in able:
        if needs_own(attack):
            yield from _attempt(arena, [attack], way)


def attempt(arena: Arena, attack: ModuleType, name: str) -> Result:
    """Let one attack try by one way, by itself."""
    return _attempt(arena, [attack], Way(arena, name))[0]


def attempt_under_bubblewrap(arena: Arena, attack: ModuleType, program: Path) -> Result:
    """Let one attack try under the peer; what that lets happen to the project does not stay."""
    arena.folder = "project"
    saved = arena.place / "saved"
    subprocess.run(["cp", "-a", str(arena.project), str(saved)], check=True)
    started = time.monotonic()
    with _prepared(arena, attack):
        checks = read(bubblewrap(arena, program, name_of(attack)))
    found = _looked_at(arena, attack)
    shutil.rmtree(arena.project)
    saved.rename(arena.project)
    seconds = time.monotonic() - started
    return Result(
        attack=name_of(attack),
        way="bwrap",
        checks=(*checks, *found),
        seconds=seconds,
        limit=limit_of(attack),
    )


def _attempt(arena: Arena, chosen: Sequence[ModuleType], way: Way) -> list[Result]:
    """Prepare, let in, look at what was reported and at what was left behind."""
    started = time.monotonic()
    names = [name_of(attack) for attack in chosen]
    with contextlib.ExitStack() as stack:
        try:
            flags = [flag for attack in chosen for flag in stack.enter_context(_prepared(arena, attack))]
            outside = getattr(chosen[0], "outside", None)
            printed = outside(arena, way) if outside else way.enter(names, flags)
            reports = split(printed, names)
        except (Exception, SystemExit) as error:
            # An attack that cannot be started is no denial, and must not hide what the others found.
            words = f"{type(error).__name__}: {' '.join(str(error).split())[-200:]}"
            broken = (Check(verdict="silent", name="the harness", detail=words),)
            reports = dict.fromkeys(names, broken)
        seen = {name: _looked_at(arena, attack) for name, attack in zip(names, chosen, strict=True)}
    seconds = (time.monotonic() - started) / len(chosen)
    return [
        Result(
            attack=name,
            way=way.name,
            checks=tuple(_expected(arena, name, check) for check in (*reports[name], *seen[name])),
            seconds=seconds,
            limit=limit_of(attack),
        )
        for name, attack in zip(names, chosen, strict=True)
    ]


@contextlib.contextmanager
def _prepared(arena: Arena, attack: ModuleType) -> Iterator[tuple[str, ...]]:
    """Make ready what an attack needs outside; yields the flags of its command."""
    arena.attack = name_of(attack)
    if prepare := getattr(attack, "prepare", None):
        prepare(arena)
    listed = getattr(attack, "LISTED", ())
    if not listed:
        yield getattr(attack, "FLAGS", ())
        return
    with AllowedHost.of(listed) as host:
        arena.facts(**host.facts)
        vars(attack)["_HOST"] = host
        yield host.flags


def _looked_at(arena: Arena, attack: ModuleType) -> tuple[Check, ...]:
    """What is seen from outside when it is over."""
    arena.attack = name_of(attack)
    found = list(getattr(attack, "afterwards", lambda _: [])(arena))
    if host := vars(attack).pop("_HOST", None):
        found += host.seen()
    return tuple(
        Check(verdict="escaped" if bad else "denied", name=what, detail="seen from outside")
        for what, bad in found
    )


def _expected(arena: Arena, attack: str, check: Check) -> Check:
    """The check, told with the reason where the rung is known to give less."""
    if not arena.landlock or check.verdict not in ("escaped", "broken", "silent"):
        return check
    as_root = arena.user is None and os.geteuid() == 0
    reason = less.reason(attack, check.name, as_root=as_root)
    return check if reason is None else replace(check, verdict="less", detail=reason)


def split(printed: bytes, names: Sequence[str]) -> dict[str, tuple[Check, ...]]:
    """The checks of each attack in what several of them printed together."""
    if len(names) == 1:
        return {names[0]: read(printed)}
    parts = re.split(rb"@begin\|([^|\r\n]*)\|[^\r\n]*", printed)
    told = {name.decode(): text for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    return {name: read(told[name]) if name in told else (_silent(printed),) for name in names}


def read(printed: bytes) -> tuple[Check, ...]:
    """The checks in an output; one that does not reach its end says so with what it showed last."""
    found = [tuple(part.decode() for part in match) for match in _LINE.findall(printed)]
    checks = [Check(verdict=v, name=n, detail=d) for v, n, d in found if v not in ("done", "begin")]
    if not any(verdict == "done" for verdict, _, _ in found):
        checks.append(_silent(printed))
    return tuple(checks)


def _silent(printed: bytes) -> Check:
    tail = " ".join(printed.decode("utf-8", "replace").split())[-200:]
    return Check(verdict="silent", name="came to its end", detail=tail)

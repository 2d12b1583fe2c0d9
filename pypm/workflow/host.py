"""What this machine can enforce, for `pypm sandbox info`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sandbox
from sandbox import Guarantee, Isolation, Keeper


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One isolation of this platform, the strongest first."""

    isolation: Isolation
    works: bool
    cause: str | None
    """Why it does not work here."""
    guarantees: frozenset[Guarantee]
    notes: tuple[str, ...]
    """What is weaker than its name says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """The answer of the probe, and what it means for each isolation."""

    host: sandbox.Host
    rungs: tuple[Rung, ...]
    limits: Mapping[str, Keeper]
    """Who keeps the limits that are about all processes together, by field of `sandbox.Limits`."""

    @property
    def is_strongest(self) -> bool:
        """Whether what a run takes by default works here."""
        return self.rungs[0].works

    def to_plain(self) -> dict[str, Any]:
        """As data for `--json`."""
        rungs = {
            rung.isolation.value: {
                "works": rung.works,
                "cause": rung.cause,
                "guarantees": sorted(item.value for item in rung.guarantees),
                "notes": list(rung.notes),
            }
            for rung in self.rungs
        }
        limits = {name: keeper.sentence for name, keeper in self.limits.items()}
        return {**asdict(self.host), "isolations": rungs, "limits": limits}

    def lines(self) -> tuple[str, ...]:
        """As text: the host, a table of guarantees, and what is weaker where."""
        return tuple(self._lines())

    def _lines(self) -> Iterator[str]:
        host = self.host
        yield f"{'platform':<12} {host.platform} {host.machine}, kernel {host.kernel}"
        for rung in self.rungs:
            yield f"{rung.isolation.value:<12} {'works' if rung.works else f'no: {rung.cause}'}"
        if host.namespaces:
            masked = "no: an outer container masks its own, so there is none inside"
            yield f"{'own /proc':<12} {'yes' if host.process_view else masked}"
            yield f"{'layers':<12} {'yes' if host.overlay else 'no: it needs Linux 6.8 or newer'}"
        if host.platform == "linux":
            yield f"{'landlock ABI':<12} {host.landlock_abi or 'none'}"
        for name, keeper in self.limits.items():
            yield f"{_LIMITS[name]:<12} {keeper.kept}"
        yield ""
        yield f"{'guarantee':<12} " + " ".join(f"{rung.isolation.value:<12}" for rung in self.rungs).rstrip()
        for guarantee in Guarantee:
            cells = ("yes" if guarantee in rung.guarantees else "no" for rung in self.rungs)
            yield f"{guarantee.value:<12} " + " ".join(f"{cell:<12}" for cell in cells).rstrip()
        for rung in self.rungs:
            if rung.works and rung.notes:
                yield from _paragraph(rung.isolation.value, rung.notes)
        # Most reasons are the same for every limit, and long: once is enough.
        if reasons := dict.fromkeys(reason for keeper in self.limits.values() for reason in keeper.because):
            yield from _paragraph("no control group for all limits", reasons)


def _paragraph(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield ""
    yield f"{title}:"
    yield from (f"  {line}" for line in lines)


def report_host() -> HostReport:
    """Try the real thing and say what works, and why not where it does not."""
    host = sandbox.probe()
    return HostReport(host=host, rungs=tuple(_rungs(host)), limits=sandbox.keepers())


_LIMITS = {"memory_bytes": "--memory", "processes": "--pids", "cpus": "--cpus"}


_OTHERS = {"darwin": Isolation.SEATBELT, "win32": Isolation.JOB}


def _rungs(host: sandbox.Host) -> Iterator[Rung]:
    if host.platform == "linux":
        yield _rung(Isolation.NAMESPACES, host.namespaces, host.cause)
        yield _rung(Isolation.LANDLOCK, host.landlock, host.landlock_cause)
        yield _rung(Isolation.NONE, True, None)
    elif host.platform in _OTHERS:
        yield _rung(_OTHERS[host.platform], True, None)
    else:
        yield Rung(
            isolation=Isolation.NONE,
            works=False,
            cause=f"there is no isolation on `{host.platform}`",
            guarantees=frozenset(),
            notes=(),
        )


def _rung(isolation: Isolation, works: bool, cause: str | None) -> Rung:
    """What a backend says of itself; one that does not work guarantees nothing here."""
    if not works:
        return Rung(isolation=isolation, works=False, cause=cause, guarantees=frozenset(), notes=())
    coverage = sandbox.choose_backend(sandbox.Policy(isolation=isolation)).coverage()
    return Rung(
        isolation=isolation, works=True, cause=None, guarantees=coverage.guarantees, notes=coverage.notes
    )

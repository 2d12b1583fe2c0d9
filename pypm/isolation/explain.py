"""A policy told in lines and in plain data, for `sandbox explain` and `--explain`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from sandbox import Guarantee, Isolation, Mount, Policy, choose_backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The exact policy that a command would get."""

    policy: Policy
    command: tuple[str, ...] = ()
    """What is run, and where: its argument vector and its directory inside."""
    folder: str = "/"
    isolation: Isolation | None = None
    """The one that would be taken; None where nobody asked."""
    less: tuple[Guarantee, ...] = ()
    """What it does not guarantee on this machine."""
    notes: tuple[str, ...] = ()
    """What is weaker than its name says."""
    waiting: tuple[str, ...] = ()
    """What the project grants besides, and the user has not consented to: it does not count."""

    def to_plain(self) -> dict[str, Any]:
        """As data for `--json`: the policy itself, key by key, with values of granted variables left out."""
        plain: dict[str, Any] = self.policy.to_plain()
        plain["environment"] = [name for name, _ in self.policy.environment]
        plain["command"] = list(self.command)
        plain["folder"] = self.folder
        plain["isolation"] = None if self.isolation is None else self.isolation.value
        plain["not_guaranteed"] = [item.value for item in self.less]
        plain["notes"] = list(self.notes)
        plain["waiting"] = list(self.waiting)
        return plain

    def lines(self) -> tuple[str, ...]:
        """As text, one thing a line, in the order in which it is applied."""
        return (*self._head(), *_lines(self.policy), *self._tail())

    def _head(self) -> Iterator[str]:
        if self.command:
            yield f"command      {shlex.join(self.command)}"
            yield f"starts in    {self.folder}"
        if self.isolation is not None:
            named = " (asked for by name)" if self.policy.isolation is not None else ""
            yield f"isolation    {self.isolation.value}{named}"

    def _tail(self) -> Iterator[str]:
        if self.less:
            yield f"not promised {' '.join(item.value for item in self.less)}"
        yield from (f"note         {note}" for note in self.notes)
        yield from (f"waits        {grant} (for your consent: `pypm trust`)" for grant in self.waiting)


def explain(
    policy: Policy, command: tuple[str, ...] = (), *, folder: str = "/", waiting: tuple[str, ...] = ()
) -> Explanation:
    """Explain the policy of a command. Values of variables are not shown: a granted one may be a secret.

    Raises: sandbox.UnsupportedError where the run would be refused for what the policy requires.
    """
    backend = choose_backend(policy)
    coverage = backend.coverage()
    return Explanation(
        policy=policy,
        command=command,
        folder=folder,
        isolation=backend.isolation,
        less=coverage.missing(frozenset(Guarantee)),
        notes=coverage.notes,
        waiting=waiting,
    )


def _lines(policy: Policy) -> Iterator[str]:
    yield f"network      {_network(policy)}"
    if policy.system:
        yield "read         system folders (/usr, /bin, /lib*, a part of /etc)"
    for mount in policy.mounts:
        yield _mount(mount)
    if policy.isolation is not None and policy.isolation.in_place:
        yield "empty        the home and the temporary folder, where `HOME` and `TMPDIR` say"
    else:
        if policy.home is not None:
            yield f"empty        {policy.home} (home)"
        yield "empty        /tmp"
    yield f"variables    {' '.join(name for name, _ in policy.environment)}"
    yield f"terminal     {policy.terminal.value}"
    for item in fields(policy.limits):
        value = getattr(policy.limits, item.name)
        if value is not None:
            yield f"limit        {item.name.replace('_', ' ')}: {value}"
    yield f"must hold    {' '.join(sorted(item.value for item in policy.require)) or 'nothing'}"


def _network(policy: Policy) -> str:
    if policy.network.kind.value == "host":
        return "the network of this machine"
    if policy.network.kind.value == "hosts":
        hosts = " ".join(f"{host}:{port}" for host, port in policy.network.allowed)
        networks = " ".join(policy.network.networks)
        return f"loopback and {hosts}" + (f" (also where they point into {networks})" if networks else "")
    return "loopback only"


_WORDS = {"symlink": "link", "device": "device", "protect": "protected", "tmpfs": "empty"}


def _mount(mount: Mount) -> str:
    kind = mount.kind.value
    word = _WORDS.get(kind, "write" if mount.writable else "read")
    remark = ""
    if kind == "bind" and mount.source != mount.target:
        remark = f" (from {mount.source})"
    elif kind == "overlay":
        remark = f" (environment, {len(mount.layers)} layers from the store)"
    elif kind == "symlink":
        remark = f" -> {mount.destination}"
    return f"{word:<12} {mount.target}{remark}"

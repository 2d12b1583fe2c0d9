"""A policy told in lines and in plain data, for `sandbox explain` and `--explain`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from sandbox import Mount, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The exact policy that a command would get."""

    policy: Policy

    def to_plain(self) -> dict[str, Any]:
        """As data for `--json`: the policy itself, key by key, with values of granted variables left out."""
        plain: dict[str, Any] = self.policy.to_plain()
        plain["environment"] = [name for name, _ in self.policy.environment]
        return plain

    def lines(self) -> tuple[str, ...]:
        """As text, one thing a line, in the order in which it is applied."""
        return tuple(_lines(self.policy))


def explain(policy: Policy) -> Explanation:
    """Explain a policy. Values of variables are not shown: a granted one may be a secret."""
    return Explanation(policy=policy)


def _lines(policy: Policy) -> Iterator[str]:
    if policy.isolation is not None:
        yield f"isolation    {policy.isolation.value} (asked for by name)"
    yield f"network      {_network(policy)}"
    if policy.system:
        yield "read         system folders (/usr, /bin, /lib*, a part of /etc)"
    for mount in policy.mounts:
        yield _mount(mount)
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

"""Options that mean the same in every policy: network, limits, guarantees."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pypm.errors import IsolationError
from pypm.isolation.options import HostPort, RunOptions
from sandbox import Guarantee, Limits, Mount, Network, Policy

WEB_PORTS = (443, 80)
TEMPORARY_SIZE_BYTES = Policy().temporary_size_bytes
"""What a policy has that says nothing."""

_GPU_NODES = ("nvidia*", "nvidia-caps/*", "dri/card*", "dri/renderD*", "kfd", "dxg")
"""CUDA (NVIDIA), ROCm (`kfd`), Direct Rendering, and the paravirtual GPU of WSL."""


def network(options: RunOptions) -> Network:
    """Nothing but loopback, unless hosts are named or the caller's network is asked for.

    A network among the hosts is no destination: it says where the names may point, see `values.parse_host`.

    Raises: IsolationError for networks without a host.
    """
    if options.allow_all_net:
        return Network.HOST
    networks = tuple(place.host for place in options.allow_net if "/" in place.host)
    hosts = (place for place in options.allow_net if "/" not in place.host)
    pairs = dict.fromkeys(pair for place in hosts for pair in _pairs(place))
    if networks and not pairs:
        raise IsolationError(
            f"`allow-net` names the network `{networks[0]}` and no host",
            reference="network-without-hosts",
            hint="a network says where allowed names may point; name the hosts, too",
        )
    return Network.hosts(*pairs, networks=networks) if pairs else Network.NONE


def _pairs(place: HostPort) -> Iterable[tuple[str, int]]:
    ports = WEB_PORTS if place.port is None else (place.port,)
    return ((place.host, port) for port in ports)


def limits(options: RunOptions) -> Limits:
    """The limits that were asked for; what was not stays as the caller has it.

    One that the host cannot keep is refused when the sandbox is made: a limit that is not kept is worse than
    none.
    """
    return Limits(
        wall_clock_seconds=options.timeout_seconds,
        memory_bytes=options.memory_bytes,
        processes=options.pids,
        cpus=options.cpus,
        cpu_seconds=options.cpu_seconds,
        file_size_bytes=options.file_size_bytes,
        output_bytes=options.output_bytes,
    )


def temporary_size(options: RunOptions) -> int:
    """The size of each directory in memory."""
    return options.tmp_size_bytes or TEMPORARY_SIZE_BYTES


def guarantees(options: RunOptions) -> frozenset[Guarantee]:
    """What must be enforced: everything, unless weaker isolation was asked for by name.

    Then only what the project's `require` insists on; the sandbox refuses where the weaker backend lacks it.
    """
    return frozenset(Guarantee) if options.isolation is None else frozenset(options.require)


def devices(options: RunOptions) -> tuple[Mount, ...]:
    """The device nodes that were asked for; of a GPU those that this machine has."""
    mounts: list[Mount] = []
    for name in options.allow_device:
        nodes = _gpu_nodes() if name == "gpu" else [name]
        mounts += [Mount.device(node, optional=name == "gpu") for node in nodes]
    return tuple(mounts)


def _gpu_nodes() -> list[str]:
    nodes = {path for pattern in _GPU_NODES for path in Path("/dev").glob(pattern) if path.is_char_device()}
    return [str(path) for path in sorted(nodes)]

"""Cold machines filled from a bucket beside ones that are filled from the index, over lines like real ones.

The index is a mirror on this machine with the wheels of the server's environment; it and the bucket lie
behind lines of a given bandwidth and latency (`line.py`). Every round fills one machine from the bucket
between two that are filled from the index: the differences within rounds are what counts, and how far the two
from the index lie apart is the noise that they stand against.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median, quantiles

import tomli

from integration.s3cache.commands import AGAIN, INDEX, Project, Synced, cold_machines
from integration.s3cache.line import Line, Shape
from integration.s3cache.machine import Artifact
from integration.s3cache.server import S3Server
from pypm.index.remote_zip import read_dist_info
from tests.support.index_server import Archive, IndexServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure."""

    project: Project
    artifacts: tuple[Artifact, ...]
    rounds: int
    index_line: Shape
    bucket_line: Shape
    beside: Path | None
    """Another pypm, such as an earlier one, that is filled from the bucket too."""


def measure(plan: Plan, server: S3Server) -> None:
    """Print how long `pypm sync` takes with an empty cache, in turn."""
    server.empty()
    first = plan.project.sync("first", server)
    plan.project.forget("first")
    size = sum(server.sizes().values())
    print(f"{first.stored} wheels, {size / 1e6:.1f} MB; seconds of `pypm sync` with an empty cache")
    print(f"index {plan.index_line}; bucket {plan.bucket_line}", flush=True)
    rounds: list[Mapping[str, Synced]] = []
    with _lines(plan, server) as (project, endpoint):
        for number in range(plan.rounds):
            done = cold_machines(project, server, endpoint, plan.beside, backwards=number % 2 == 1)
            for name, one in done.items():
                assert one.from_bucket == (0 if name in (INDEX, AGAIN) else first.stored), one.said
                print(f"  {name} {one.seconds:.2f} ({one.cpu_seconds:.2f} of processors)", flush=True)
            rounds.append(done)
    for what, value in (("seconds", _seconds), ("of processors", _cpu_seconds)):
        for line in summary([{name: value(one) for name, one in done.items()} for done in rounds]):
            print(f"  {what}: {line}", flush=True)


def summary(rounds: Sequence[Mapping[str, float]]) -> tuple[str, ...]:
    """Return the medians of all ways, and the differences of each to the index within rounds.

    `rounds` hold a value for each way. The last line is the noise: the same work twice in a round.
    """
    both = [mean((one[INDEX], one[AGAIN])) for one in rounds]
    ways = [name for name in rounds[0] if name not in (INDEX, AGAIN)]
    lines = [f"index {median(both):.2f}"]
    for name in sorted(ways):
        values = [one[name] for one in rounds]
        differences = [value - index for value, index in zip(values, both, strict=True)]
        lines.append(f"{name} {median(values):.2f}, to the index {_spread(differences)}")
    lines.append(f"noise, index to index {_spread([one[AGAIN] - one[INDEX] for one in rounds])}")
    return tuple(lines)


def _spread(values: Sequence[float]) -> str:
    """Return median and quartiles."""
    low, middle, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    return f"{middle:+.2f} ({low:+.2f} to {high:+.2f})"


def _seconds(one: Synced) -> float:
    return one.seconds


def _cpu_seconds(one: Synced) -> float:
    return one.cpu_seconds


class _Mirror(IndexServer):
    """An index whose pages lead to the files through its line."""

    line: Line

    def file_url(self, archive: Archive) -> str:
        """Return where an archive lies, for who is at the other end."""
        return f"http://{self.line.address}/{self.file_path(archive)}"


@contextmanager
def _lines(plan: Plan, server: S3Server) -> Iterator[tuple[Project, str]]:
    """Give the project behind the index's line, and the endpoint behind the bucket's."""
    with ExitStack() as stack:
        mirror = stack.enter_context(_Mirror())
        for name, archive in _archives(plan.project.source, plan.artifacts):
            mirror.add(name, archive)
        index = mirror.line = stack.enter_context(Line(mirror.host, plan.index_line))
        bucket = stack.enter_context(Line(server.endpoint.partition("://")[2], plan.bucket_line))
        shaped = replace(plan.project, index=f"http://{index.address}/simple")
        yield shaped, f"http://{bucket.address}"


def _archives(source: Path, artifacts: tuple[Artifact, ...]) -> Iterator[tuple[str, Archive]]:
    """Yield the locked wheels as an index has them, each at the place that the lock notes."""
    lock = tomli.loads((source / "pypm.lock").read_text(encoding="utf-8"))
    places = {artifact.sha256: artifact.source for artifact in artifacts}
    for package in lock["packages"]:
        for wheel in package.get("wheels", ()):
            path = places.get(wheel["hashes"]["sha256"])
            if path is None:
                continue
            yield (
                package["name"],
                Archive(
                    filename=path.name,
                    content=path.read_bytes(),
                    metadata=read_dist_info(path, ("METADATA",))["METADATA"],
                    path=f"packages/{wheel['path']}",
                ),
            )

"""The same with the commands that a person types: `pypm sync` on machines that share nothing but a bucket."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from integration.peers import PYPM
from integration.s3cache.server import S3Server
from pypm.files import remove_tree

INDEX, BUCKET, OTHER, AGAIN = "index", "bucket", "bucket, other pypm", "index again"
"""What fills a cold machine."""
NONE: Mapping[str, str] = MappingProxyType({})
_TOOK = re.compile(r"Took (\d+) of (\d+) artifacts? from `s3cache`")
_STORED = re.compile(r"artifacts stored in `wheels`: (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What one `pypm sync` did."""

    seconds: float
    cpu_seconds: float
    """Of pypm and everything that it started and waited for."""
    digest: str
    """Of the environment."""
    from_bucket: int
    stored: int
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A locked project, checked out on many machines."""

    source: Path
    """A folder with pyproject.toml and pypm.lock, without plugins."""
    place: Path
    index: str | None = None
    """The URL to sync from in place of the usual one."""
    pypm: Path = PYPM

    def sync(
        self,
        name: str,
        server: S3Server | None,
        *,
        endpoint: str | None = None,
        settings: str = "",
        variables: Mapping[str, str] = NONE,
    ) -> Synced:
        """Check it out on a new machine with an empty cache and sync; no server: from the index alone.

        `endpoint` is an address that leads to the server, in place of its own; `settings` are tables behind
        those of the project, and `variables` are the machine's.
        """
        folder, cache = self.place / name, self.place / f"{name}-cache"
        folder.mkdir(parents=True)
        text = (self.source / "pyproject.toml").read_text(encoding="utf-8") + settings
        if server is not None:
            text += _table(endpoint or server.endpoint)
        (folder / "pyproject.toml").write_text(text, encoding="utf-8")
        shutil.copy(self.source / "pypm.lock", folder)
        keys = {} if server is None else {**server.writer, "PYPM_TRUST_PLUGINS": "s3cache"}
        environment = {**os.environ, **keys, **variables, "PYPM_CACHE_DIR": str(cache)}
        if server is not None:
            self._run(folder, environment, "lock")  # Pins the plugin; the packages stay as they are.
        if self.index is not None:
            environment["PYPM_DEFAULT_INDEX"] = self.index
        started, used = time.monotonic(), _cpu_seconds()
        done = self._run(folder, environment, "sync", "--locked", "-v")
        seconds, cpu_seconds = time.monotonic() - started, _cpu_seconds() - used
        said = done.stderr + done.stdout
        assert not any(key in said for key in keys.values() if len(key) > 20), "a key was shown"
        took, stored = _TOOK.search(said), _STORED.search(said)
        return Synced(
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            digest=done.stdout.strip().splitlines()[-1],
            from_bucket=int(took[1]) if took else 0,
            stored=int(stored[1]) if stored else 0,
            said=said,
        )

    def run(self, folder: Path, *words: str) -> None:
        """Type a command in a folder, with this machine's own cache."""
        self._run(folder, dict(os.environ), *words)

    def _run(
        self, folder: Path, environment: dict[str, str], *words: str
    ) -> subprocess.CompletedProcess[str]:
        argv = [str(self.pypm), *words]
        done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done

    def forget(self, *names: str) -> None:
        """Take machines away."""
        for name in names:
            remove_tree(self.place / name)
            remove_tree(self.place / f"{name}-cache")


def cold_machines(
    project: Project, server: S3Server, endpoint: str, beside: Path | None, *, backwards: bool
) -> dict[str, Synced]:
    """Sync machines with an empty cache, one after the other: from the index alone, and from a full bucket.

    The one of the bucket comes between two of the index, so that a machine that slows down meanwhile slows
    both sides alike, and the two tell what the same work takes twice. `beside` is another pypm that fills one
    more machine from the bucket; `backwards` turns the order around.
    """
    ways: dict[str, Callable[[], Synced]] = {
        INDEX: lambda: project.sync(INDEX, None),
        BUCKET: lambda: project.sync(BUCKET, server, endpoint=endpoint),
    }
    if beside is not None:
        other = replace(project, pypm=beside)
        ways[OTHER] = lambda: other.sync(OTHER, server, endpoint=endpoint)
    ways[AGAIN] = lambda: project.sync(AGAIN, None)
    done: dict[str, Synced] = {}
    for name in reversed(ways) if backwards else ways:
        done[name] = ways[name]()
        project.forget(name)
    assert len({one.digest for one in done.values()}) == 1, "the same environment either way"
    return done


def cache_folder() -> Path:
    """Return this machine's own cache."""
    argv = [str(PYPM), "cache", "dir"]
    return Path(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip())


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _table(endpoint: str) -> str:
    place = endpoint.partition("://")[2]
    return f"""
[tool.pypm.plugins.s3cache]
bucket = "wheels"
endpoint = "{endpoint}"
region = "us-east-1"
allow-net = ["{place}"]
allow-env = ["AWS_*"]
allow-read = ["packages"]
"""

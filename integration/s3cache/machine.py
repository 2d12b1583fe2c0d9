"""One machine of a team: a cache of its own, an index that it downloads from, and the plugin in its sandbox.

It goes through the stages as a sync does: offers are taken before the rest is downloaded, and what lies there
afterwards is shown to the plugin.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from pypm.isolation.values import parse_host
from pypm.plugins.found import NativeFound, SearchPath, find
from pypm.plugins.hooks import Diagnostic
from pypm.plugins.inside.context import Context, Package, Stage
from pypm.plugins.permissions import Grants
from pypm.plugins.policy import Surroundings
from pypm.plugins.session import Session, choose
from pypm.plugins.settings import Enabled
from tests.support import sanitizers
from tests.support.builds import this_interpreter


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What is locked."""

    name: str
    sha256: str
    size_bytes: int
    source: Path
    """Where the index has it."""


def artifact_of(source: Path, sha256: str) -> Artifact:
    """Describe a file that lies in the index."""
    name = source.name.partition("-")[0].lower().replace("_", "-")
    return Artifact(name=name, sha256=sha256, size_bytes=source.stat().st_size, source=source)


def build_plugins(folder: Path, *, sanitized: bool) -> Path:
    """Build pypm's plugins into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    sanitizers.build(folder, sanitized=sanitized)
    if not (folder / "pypm_s3cache.so").exists():
        raise SystemExit("s3cache was not built: install the headers of libcurl (libcurl4-openssl-dev)")
    return folder


@dataclass(kw_only=True)
class Outcome:
    """What one sync did, and what was said."""

    from_bucket: int = 0
    from_index: int = 0
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """Everything that the plugin said, to look for what it must not say."""

    def log(self, plugin: str, level: str, message: str) -> None:
        self.said.append(message)

    def progress(self, plugin: str, done: int, total: int | None, what: str) -> None:
        self.said.append(what)

    def diagnostic(self, diagnostic: Diagnostic) -> None:
        line = f"{diagnostic.message} (hint: {diagnostic.hint})"
        self.said.append(line)
        if diagnostic.level in ("warning", "error"):
            self.warnings.append(line)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine with an empty cache."""

    folder: Path
    plugins: Path
    endpoint: str
    keys: dict[str, str]
    options: dict[str, str] = field(default_factory=dict)
    is_granted: bool = True

    def sync(self, artifacts: tuple[Artifact, ...]) -> Outcome:
        """Fill the cache: from the bucket what it has, from the index the rest.

        Raises: PluginError.
        """
        outcome = Outcome()
        cache, scratch, root = (self.folder / name for name in ("cache", "scratch", "project"))
        for folder in (cache, scratch, root):
            folder.mkdir(parents=True, exist_ok=True)
        around = self._around(root, scratch, packages=cache)
        missing = tuple(one for one in artifacts if not (cache / one.sha256).exists())
        told = tuple(Package(name=a.name, sha256=a.sha256, size_bytes=a.size_bytes) for a in missing)
        started = time.monotonic()
        with self._session(around, outcome) as session:
            for offer in session.call(_context(Stage.PRE_FETCH, root, told)):
                outcome.from_bucket += offer.take(cache / missing[offer.package].sha256)
            for one in missing:
                if not (cache / one.sha256).exists():
                    outcome.from_index += 1
                    shutil.copyfile(one.source, cache / one.sha256)
            there = tuple(
                Package(name=one.name, sha256=one.sha256, path=str(cache / one.sha256)) for one in missing
            )
            session.call(_context(Stage.POST_FETCH, root, there))
        outcome.seconds = time.monotonic() - started
        assert not list(scratch.iterdir()), "nothing is left behind"
        secret = self.keys.get("AWS_SECRET_ACCESS_KEY")
        assert not secret or not any(secret in line for line in outcome.said)
        return outcome

    def audit(self, artifacts: tuple[Artifact, ...], *, cache: Path) -> tuple[int, list[str]]:
        """Show the trees that lie in a cache to `auditwheel`; return how many there are, and its findings.

        Raises: PluginError.
        """
        outcome = Outcome()
        root, scratch = self.folder / "project", self.folder / "scratch"
        for folder in (root, scratch):
            folder.mkdir(parents=True, exist_ok=True)
        around = self._around(root, scratch, packages=cache)
        told = tuple(
            Package(name=one.name, version="1", artifact=one.source.name, sha256=one.sha256, tree=str(tree))
            for one in artifacts
            for tree in (cache / "store-v1" / one.sha256[:2]).glob(f"{one.sha256}-*/prefix")
        )
        enabled = Enabled(name="auditwheel", grants=Grants(packages=True))
        with self._open(enabled, around, outcome) as session:
            session.call(_context(Stage.POST_FETCH, root, told))
        return len(told), outcome.said

    def holds(self, artifacts: tuple[Artifact, ...]) -> bool:
        """Whether every artifact lies in the cache with its hash, and nothing else."""
        cache = self.folder / "cache"
        names = {path.name for path in cache.iterdir()}
        return names == {one.sha256 for one in artifacts} and all(
            hashlib.sha256((cache / name).read_bytes()).hexdigest() == name for name in names
        )

    def _session(self, around: Surroundings, outcome: Outcome) -> Session:
        options = {"bucket": "wheels", "endpoint": self.endpoint, "region": "us-east-1", **self.options}
        hosts = (parse_host(self.endpoint.partition("://")[2]),) if self.is_granted else ()
        enabled = Enabled(
            name="s3cache",
            grants=Grants(hosts=hosts, packages=True, variables=("AWS_*",)),
            options=tuple(sorted(options.items())),
        )
        return self._open(enabled, around, outcome)

    def _around(self, root: Path, scratch: Path, *, packages: Path) -> Surroundings:
        return Surroundings(
            interpreter=this_interpreter(),
            home=Path("/root"),
            root=root,
            packages=(packages,),
            scratch=scratch,
        )

    def _open(self, enabled: Enabled, around: Surroundings, outcome: Outcome) -> Session:
        found = find(enabled.name, SearchPath(folders=(self.plugins,)))
        assert isinstance(found, NativeFound), "it was built a moment ago"
        chosen = choose(
            enabled, found, around, variables={**os.environ, **self.keys}, kept=self.plugins / "kept"
        )
        return Session([chosen], around, outcome)


def _context(stage: Stage, root: Path, packages: tuple[Package, ...]) -> Context:
    return Context(
        stage=stage,
        pypm_version="0",
        project_root=str(root),
        lock_path=str(root / "pypm.lock"),
        environment_path=str(root / ".venv"),
        packages=packages,
    )

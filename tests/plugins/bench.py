"""Compiling plugins for tests, and calling their hooks as a command of pypm does."""

from __future__ import annotations

import functools
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import sandbox
from pypm.plugins import policy
from pypm.plugins.descriptor import Descriptor
from pypm.plugins.found import Found, NativeFound, SearchPath, find
from pypm.plugins.hooks import Diagnostic
from pypm.plugins.inside.context import Context, Package, Stage
from pypm.plugins.permissions import Grants
from pypm.plugins.policy import Surroundings
from pypm.plugins.session import Session, choose
from pypm.plugins.settings import Enabled
from tests.support.builds import this_interpreter

SOURCES = Path(__file__).parent
HEADERS = policy.INSIDE.parent
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-unused-result")

_host = sandbox.probe()
needs_sandbox = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on this machine")


def build(source: Path, output: Path, *flags: str) -> Path:
    """Compile one C file to a plugin."""
    argv = ["cc", "-std=gnu99", *WARNINGS, "-shared", "-fPIC", "-pthread", f"-I{HEADERS}", *flags]
    subprocess.run([*argv, "-o", str(output), str(source)], check=True)
    return output


@functools.cache
def compiled(name: str, folder: Path) -> Path:
    """Compile a file of this folder, once a run."""
    return build(SOURCES / f"{name}.c", folder / f"pypm_{name}.so")


@dataclass(kw_only=True)
class Heard:
    """A listener that keeps what it hears."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    progressed: list[tuple[int, int | None, str]] = field(default_factory=list)

    def log(self, plugin: str, level: str, message: str) -> None:
        self.lines.append((level, message))

    def progress(self, plugin: str, done: int, total: int | None, what: str) -> None:
        self.progressed.append((done, total, what))

    def diagnostic(self, diagnostic: Diagnostic) -> None:
        self.diagnostics.append(diagnostic)


@dataclass(kw_only=True)
class Scene:
    """A project that uses one plugin."""

    root: Path
    folder: Path
    """Where plugins are found."""
    scratch: Path
    heard: Heard = field(default_factory=Heard)
    variables: dict[str, str] = field(default_factory=dict)
    kept: Path | None = None

    @property
    def surroundings(self) -> Surroundings:
        return Surroundings(
            interpreter=this_interpreter(),
            home=Path("/root"),
            root=self.root,
            packages=(),
            scratch=self.scratch,
        )

    def find(self, name: str) -> Found:
        return find(name, SearchPath(folders=(self.folder,), site_packages=(self.folder,)))

    def session(self, name: str, *, grants: Grants | None = None, **settings: Any) -> Session:
        options = tuple(sorted((key, str(value)) for key, value in settings.pop("options", {}).items()))
        enabled = Enabled(name=name, grants=grants or Grants(), options=options, **settings)
        found = self.find(name)
        chosen = choose(enabled, found, self.surroundings, variables=self.variables, kept=self.kept)
        return Session([chosen], self.surroundings, self.heard)

    def context(self, stage: Stage = Stage.PRE_RUN, **changes: Any) -> Context:
        context = Context(
            stage=stage,
            pypm_version="9.9",
            project_root=str(self.root),
            lock_path=str(self.root / "pypm.lock"),
            environment_path=str(self.root / ".venv"),
            packages=(Package(name="sample", sha256="0" * 64),),
        )
        return replace(context, **changes)

    def misbehave(self, how: str, stage: Stage = Stage.PRE_RUN, **settings: Any) -> None:
        """Call the hook of `misbehaving.c` once."""
        options = {"how": how, **settings.pop("options", {})}
        with self.session("misbehaving", options=options, **settings) as session:
            session.call(self.context(stage))


__all__ = ["Descriptor", "Found", "Heard", "NativeFound", "Scene", "build", "compiled"]

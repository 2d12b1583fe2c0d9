"""What one command works with: made once, handed down, closed at the end. There is no global state.

Everything is made when it is first asked for: `pypm sync` with nothing to do never imports the network client.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from pypm.errors import ConfigurationError
from pypm.files import remove_tree, storage_errors
from pypm.model.project import DEFAULT_INDEX_NAME, Index, Project
from pypm.paths import Cache, lock_file, project_file
from pypm.workflow.report import Reporter
from pypm.workflow.settings import Settings

if TYPE_CHECKING:
    from pypm.index.client import Client
    from pypm.model.target import Interpreter

PYTHON_PIN_FILE = ".python-version"
"""Names the project's interpreter, as pyenv and its followers write it."""


class Context:
    """The project, the settings and the machinery of one command. Use it as a context manager."""

    def __init__(self, settings: Settings, reporter: Reporter) -> None:
        self.settings = settings
        self.reporter = reporter
        self._temporary_cache: Path | None = None

    def __enter__(self) -> Context:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connections and remove a temporary cache."""
        if "client" in self.__dict__:
            self.client.close()
        if self._temporary_cache is not None:
            remove_tree(self._temporary_cache)

    @property
    def root(self) -> Path:
        """The project's folder.

        Raises:
            ConfigurationError: there is no project here.
        """
        if self.settings.root is None:
            raise ConfigurationError(
                f"there is no `pyproject.toml` in `{self.settings.start}` or above it",
                reference="no-project",
                hint="`pypm init` makes a project here; `--project DIR` names another one",
            )
        return self.settings.root

    @cached_property
    def cache(self) -> Cache:
        """The cache; with `--no-cache`, an empty one that is removed when the command ends."""
        if self.settings.cache is not None:
            return Cache(self.settings.cache)
        with storage_errors("make a temporary cache"):
            self._temporary_cache = Path(tempfile.mkdtemp(prefix="pypm-cache-"))
        return Cache(self._temporary_cache)

    @cached_property
    def project(self) -> Project:
        """The project as its author wrote it, with the command line's settings on top.

        Raises:
            ConfigurationError: `pyproject.toml` is missing or malformed.
        """
        from pypm.codec.pyproject import parse_project

        path = project_file(self.root)
        with storage_errors(f"read `{path}`"):
            content = path.read_bytes()
        return self._with_settings(parse_project(content, root=self.root))

    @cached_property
    def indexes(self) -> tuple[Index, ...]:
        """The indexes to ask, with the mirror in the default one's place."""
        mirror = self.settings.default_index
        if mirror is None:
            return self.project.indexes
        return tuple(
            replace(index, url=mirror) if index.name == DEFAULT_INDEX_NAME else index
            for index in self.project.indexes
        )

    @cached_property
    def lock_path(self) -> Path:
        """Where the project's lock lies, whether or not it exists."""
        return lock_file(self.root)

    @cached_property
    def interpreter(self) -> Interpreter:
        """The interpreter that fits the project and the request.

        Raises:
            InterpreterError: there is none.
        """
        from pypm.environment.interpreters import find_interpreter

        return find_interpreter(self.project.requires_python, self.python_request, self.cache)

    @property
    def python_request(self) -> str | None:
        """Which interpreter is asked for: the command line, then the project's pin, then the configuration."""
        if self.settings.python is not None:
            return self.settings.python
        pin = self.root / PYTHON_PIN_FILE
        with storage_errors(f"read `{pin}`"):
            try:
                lines = pin.read_text(encoding="utf-8").splitlines()
            except FileNotFoundError:
                return None
        wanted = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        return wanted[0] if wanted else None

    @cached_property
    def client(self) -> Client:
        """The network client; offline it answers from the cache alone."""
        from pypm.index.client import Client

        return Client(self.network_settings)

    def _with_settings(self, project: Project) -> Project:
        settings = self.settings
        asked = {
            "strategy": settings.resolution,
            "prerelease": settings.prerelease,
            "exclude_newer": settings.exclude_newer,
        }
        given = {name: value for name, value in asked.items() if value is not None}
        return replace(
            project,
            indexes=(*settings.indexes, *project.indexes),
            settings=replace(project.settings, **given),  # type: ignore[arg-type]
        )

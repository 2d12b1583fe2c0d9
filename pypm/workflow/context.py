"""What one command works with: made once, handed down, closed at the end. There is no global state.

Everything is made when it is first asked for: a sync with nothing to do never imports the network client.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec.structs import replace
from packaging.utils import InvalidName, NormalizedName, canonicalize_name

from pypm.errors import ConfigurationError, UsageError
from pypm.files import make_own_folder, remove_tree, storage_errors
from pypm.model.project import DEFAULT_INDEX_NAME, DEFAULT_INDEX_URL, Index, Project
from pypm.paths import Cache, environment_folder, lock_file, project_file, user_configuration_file
from pypm.regular import read_regular
from pypm.workflow.report import Reporter
from pypm.workflow.settings import Settings, without_login

if TYPE_CHECKING:
    from pypm.index.auth import Login
    from pypm.index.cache import Remembered
    from pypm.index.client import Client
    from pypm.model.target import Interpreter
    from pypm.workflow.stages import Stages
    from sandbox import Isolation

Ask = Callable[[str, tuple[str, ...]], bool]
"""Asks the user on the terminal: a sentence, and what is granted in plain words."""


class Context:
    """The project, the settings and the machinery of one command. Use it as a context manager."""

    def __init__(self, settings: Settings, reporter: Reporter, *, ask: Ask | None = None) -> None:
        self.settings = settings
        self.reporter = reporter
        self.ask = ask
        """Asks the user for consent; None where nobody can be asked."""
        self.started_ns = time.time_ns()
        self._temporary_cache: Path | None = None
        self.without_grants = False
        """Whether this command goes without what the user has not consented to."""

    def __enter__(self) -> Context:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connections and the hosts of plugins, and remove a temporary cache."""
        if "stages" in self.__dict__:
            self.stages.close()
        if "client" in self.__dict__:
            self.client.close()
        if self._temporary_cache is not None:
            remove_tree(self._temporary_cache)

    @property
    def root(self) -> Path:
        """The project's folder.

        Raises:
            ConfigurationError: there is no project here, or it is another user's.
        """
        if self.settings.foreign_root is not None:
            raise ConfigurationError(
                f"the `pyproject.toml` in `{self.settings.foreign_root}` belongs to another user,"
                " and the folder that you are in does not",
                reference="foreign-project",
                hint="if you trust them with what lies there, name it:"
                f" `--project {shlex.quote(str(self.settings.foreign_root))}`",
            )
        if self.settings.root is None:
            raise ConfigurationError(
                f"there is no `pyproject.toml` in `{self.settings.start}` or above it",
                reference="no-project",
                hint="`pypm init` makes a project here; `--project DIR` names another one",
            )
        return self.settings.root

    @cached_property
    def cache(self) -> Cache:
        """The cache; with `--no-cache`, an empty one that is removed when the command ends.

        Raises: StorageError: another user could write it.
        """
        if self.settings.cache is not None:
            make_own_folder(self.settings.cache)
            return Cache(self.settings.cache)
        import tempfile

        with storage_errors("make a temporary cache"):
            self._temporary_cache = Path(tempfile.mkdtemp(prefix="pypm-cache-"))
        return Cache(self._temporary_cache)

    @cached_property
    def answers(self) -> Path | Remembered:
        """Where the answers of indexes are kept: in the cache, or in memory where that ends with the command.

        Hundreds of small files would be written for nobody, and removing them can take as long as resolving.
        """
        from pypm.index.cache import Remembered

        return self.cache.index if self.settings.cache is not None else Remembered()

    @cached_property
    def project(self) -> Project:
        """The project as its author wrote it, with the command line's settings on top.

        Raises:
            ConfigurationError: `pyproject.toml` is missing or malformed.
        """
        from pypm.codec.pyproject import parse_project

        path = project_file(self.root)
        with storage_errors(f"read `{path}`"):
            content = read_regular(path)
        if not content.strip():
            # An editor or a full disk left it so; to remove the whole environment is not what one wants.
            raise ConfigurationError(
                f"`{path.name}` is empty",
                reference="empty-project",
                hint="restore it from version control, or remove it and make another with `pypm init`",
            )
        project = self._with_settings(parse_project(content, root=self.root))
        if b"workspace" not in content:
            return project
        from pypm.workflow.workspace import with_members

        return with_members(project)

    @cached_property
    def indexes(self) -> tuple[Index, ...]:
        """The indexes to ask, with the mirror in the default one's place; folders are told from the root."""
        mirror = self.settings.default_index
        if mirror is None:
            return tuple(map(self._placed, self.project.indexes))
        bare = without_login(mirror)
        return tuple(
            replace(index, url=bare) if index.name == DEFAULT_INDEX_NAME else self._placed(index)
            for index in self.project.indexes
        )

    def _placed(self, index: Index) -> Index:
        """Those of the project start at its folder; those of the command line where the user stands."""
        if index in self.settings.indexes or urlsplit(index.url).scheme:
            return index
        return replace(index, url=str(self.root / index.url))

    @property
    def own_folder(self) -> Path | None:
        """The folder whose programs are the project's: none of them is run outside of a sandbox.

        None without a project, and for one that holds the home: the user's own programs lie there.
        """
        root = self.settings.root
        return None if root is None or self.home.resolve().is_relative_to(root.resolve()) else root

    @cached_property
    def home(self) -> Path:
        """The caller's home folder, which nothing in a sandbox sees."""
        return Path(os.path.expanduser("~")).absolute()  # noqa: PTH111 - `Path.home` raises without one

    @cached_property
    def own_isolation(self) -> Isolation | None:
        """The isolation of unpacking, builds and plugins; None is the strongest. See `workflow.ladder`."""
        named = self.settings.isolation
        if named is None and self.settings.root is not None and "isolation" in self.project.sandbox:
            from pypm.workflow.grants import project_isolation

            named = project_isolation(self)
        if named is None:
            return None
        from pypm.workflow.ladder import own_isolation

        return own_isolation(named, self.cache.hosts, self.reporter.warn)

    @cached_property
    def lock_path(self) -> Path:
        """Where the project's lock lies, whether or not it exists."""
        return lock_file(self.root)

    @property
    def location(self) -> Path:
        """Where the environment appears.

        Raises: ConfigurationError: no program could be found there.
        """
        location = environment_folder(self.root)
        if os.pathsep in str(location):
            raise ConfigurationError(
                f"the project's folder `{self.root}` has a `{os.pathsep}` in its path, which ends a folder in"
                " `PATH`: no program of its environment would be found",
                reference="separator-in-path",
                hint="rename the folder",
            )
        return location

    @cached_property
    def shown_project(self) -> Project | None:
        """The project whose folder a command sees; None for a script that lies in none."""
        return self.project

    @property
    def shown_files(self) -> tuple[Path, ...]:
        """What a command sees besides the project."""
        return ()

    @property
    def trust_folder(self) -> Path:
        """Where the user's consents are kept: beside the user's configuration."""
        return user_configuration_file(os.environ).parent

    @property
    def consents_file(self) -> Path:
        """Holds the user's consents to what projects grant themselves."""
        return self.trust_folder / "trusted-projects.json"

    @property
    def consent_place(self) -> str:
        """What consents are given for: the project's folder, behind all links."""
        return str(self.root.resolve())

    @cached_property
    def stages(self) -> Stages:
        """The stages of this command, at which the project's plugins are called."""
        from pypm.workflow.stages import Stages

        if not self.project.tool.get("plugins"):
            return Stages()
        from pypm.workflow.plugin_stages import PluginStages

        return PluginStages(self)

    @cached_property
    def interpreter(self) -> Interpreter:
        """The interpreter that fits the project and the request.

        Raises:
            InterpreterError: there is none.
        """
        from pypm.environment.interpreters import find_interpreter

        return find_interpreter(
            self.project.requires_python,
            self.python_request,
            self.cache.interpreters,
            outside=self.own_folder,
        )

    @property
    def python_request(self) -> str | None:
        """Which interpreter is asked for: by the user, else by the project's `.python-version`."""
        if self.settings.python is not None:
            return self.settings.python
        from pypm.environment.interpreters import read_version_file

        return read_version_file(self.root)

    @cached_property
    def client(self) -> Client:
        """The network client; offline it refuses every request."""
        from pypm.index.client import Client, NetworkSettings

        mirror = self.settings.default_index
        return Client(
            NetworkSettings(
                offline=self.settings.offline,
                login_urls=(*self.settings.login_urls, *((mirror,) if mirror else ())),
                logins=self._logins(),
            )
        )

    def _logins(self) -> dict[str, Login]:
        """The environment's logins by index URL, for indexes whose address or host the user named."""
        from pypm.index.auth import environment_login, is_login_for

        mirror = self.settings.default_index
        named = {DEFAULT_INDEX_URL, *(index.url for index in self.settings.indexes)}
        named |= {without_login(mirror)} if mirror else set()
        logins = {}
        for index in self.indexes:
            login = environment_login(index.name, os.environ)
            if login is None:
                continue
            if index.url in named or is_login_for(index.name, index.url, os.environ):
                logins[index.url] = login
            else:
                self.reporter.warn(
                    f"the login of the index `{index.name}` is not sent to `{index.url}`:"
                    " the project names this address, and nobody else does",
                    hint="say which host the login is for, by the variable `PYPM_INDEX_..._HOST` beside it",
                )
        return logins

    def _with_settings(self, project: Project) -> Project:
        settings = self.settings
        if settings.exclude_newer is not None:
            _require_date_limit(settings.exclude_newer)
        asked = {
            "strategy": settings.resolution,
            "prerelease": settings.prerelease,
            "exclude_newer": settings.exclude_newer,
        }
        given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
        for kind, words in (("no_build", settings.no_build), ("no_binary", settings.no_binary)):
            names = [_package_name(kind, word) for word in words if word != "*"]
            given[kind] = getattr(project.settings, kind) or len(names) < len(words)
            given[f"{kind}_package"] = (*getattr(project.settings, f"{kind}_package"), *names)
        return replace(
            project,
            indexes=(*settings.indexes, *project.indexes),
            settings=replace(project.settings, **given),
        )


def _require_date_limit(text: str) -> None:
    from pypm.codec.settings import DATE_LIMITS, is_date_limit

    if not is_date_limit(text):
        raise UsageError(
            f"`--exclude-newer {text}` is neither {DATE_LIMITS}", reference="malformed-date-limit"
        )


def _package_name(kind: str, word: str) -> NormalizedName:
    try:
        return canonicalize_name(word, validate=True)
    except InvalidName as error:
        flag = kind.replace("_", "-")
        raise UsageError(f"`--{flag} {word}` does not name a package", reference="malformed-name") from error

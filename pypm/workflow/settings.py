"""What the user, not the project, decides: command line, environment, the user's and the system's pypm.toml.

A project that comes from elsewhere must not choose where the cache lies or whether the network is used, so
these keys are never read from `[tool.pypm]`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pypm.codec.toml import parse_toml
from pypm.errors import ConfigurationError, UsageError
from pypm.files import storage_errors
from pypm.model.project import Index
from pypm.paths import (
    KERNEL_FOLDERS,
    cache_home,
    find_project_root,
    is_foreign,
    system_configuration_file,
    user_configuration_file,
)
from pypm.regular import read_regular

if TYPE_CHECKING:
    from sandbox import Isolation

_KEYS: Mapping[str, type] = {
    "allowed-signers": str,
    "build-signing-key": str,
    "cache-dir": str,
    "default-index": str,
    "isolation": str,
    "offline": bool,
    "python": str,
}
"""What a pypm.toml may say, and of which type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the command line, or the environment in its place, says about one run."""

    project: Path | None = None
    """Look for the project from here in place of the working directory."""
    config_file: Path | None = None
    no_config: bool = False
    cache_dir: Path | None = None
    no_cache: bool = False
    offline: bool = False
    python: str | None = None
    default_index: str | None = None
    index: tuple[str, ...] = ()
    """`NAME=URL` each; preferred to the project's own."""
    find_links: tuple[str, ...] = ()
    resolution: str | None = None
    prerelease: str | None = None
    exclude_newer: str | None = None
    no_build: tuple[str, ...] = ()
    """Names of packages to take wheels only of; `*` is every package."""
    no_binary: tuple[str, ...] = ()
    """Names of packages to take source distributions only of; `*` is every package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The answer, one value each."""

    start: Path
    """Where the project is looked for, from here upward."""
    root: Path | None
    """The project's folder, if there is one."""
    cache: Path | None
    """The cache's root; None asks for a temporary one (`--no-cache`)."""
    offline: bool
    python: str | None
    default_index: str | None
    """A mirror of the default index; the lock does not depend on it."""
    indexes: tuple[Index, ...]
    """Indexes of the command line, without credentials; part of the inputs that the lock answers to."""
    login_urls: tuple[str, ...] = field(repr=False)
    """Their addresses as they were given, with credentials."""
    resolution: str | None
    prerelease: str | None
    exclude_newer: str | None
    no_build: tuple[str, ...]
    no_binary: tuple[str, ...]
    files: tuple[Path, ...]
    """The configuration files that were looked for, whether or not they exist."""
    allowed_signers: Path | None = None
    """Who may sign locks, whatever a project says; with it, every lock must be signed."""
    build_signing_key: Path | None = None
    """Signs the records of what is built here, so that machines that share a cache may take the wheels."""
    isolation: Isolation | None = None
    """A weaker isolation by name, also for what pypm runs by itself; None is the strongest."""
    foreign_root: Path | None = None
    """A project that was found and is not used, because another user put it there."""


def load_settings(overrides: Overrides, environ: Mapping[str, str] = os.environ) -> Settings:
    """Join the command line with the configuration files.

    Raises:
        ConfigurationError: a pypm.toml is malformed; all its problems are told at once.
        UsageError: `--index` or `--project` cannot be meant.
        StorageError: a pypm.toml cannot be read.
    """
    configured = _configured(overrides, environ)
    overrides = _with_environment(overrides, environ)
    named = overrides.project
    start = named if named is not None and named.is_absolute() else working_folder() / (named or "")
    if overrides.project is not None and not start.is_dir():
        raise UsageError(f"`--project {overrides.project}` is not a folder", reference="no-such-folder")
    root = find_project_root(start)
    is_named = overrides.project is not None
    foreign = (
        None
        if root is None or (is_named and root == start) or not is_foreign(str(root), str(start))
        else root
    )
    chosen = overrides.cache_dir or configured.get("cache-dir")
    cache = None if overrides.no_cache else _cache(chosen, environ)
    if cache is not None:
        _require_shown(cache, f"the cache `{cache}`", hint="choose another folder with `PYPM_CACHE_DIR`")
    if root is not None and foreign is None:
        _require_shown(
            root, f"the project `{root}`", hint="move it elsewhere, such as below your home folder"
        )
    return Settings(
        start=start,
        root=None if foreign else root,
        foreign_root=foreign,
        cache=cache,
        offline=overrides.offline or bool(configured.get("offline")),
        python=overrides.python or configured.get("python"),
        default_index=overrides.default_index or configured.get("default-index"),
        allowed_signers=_path(environ.get("PYPM_ALLOWED_SIGNERS") or configured.get("allowed-signers")),
        build_signing_key=_path(environ.get("PYPM_BUILD_SIGNING_KEY") or configured.get("build-signing-key")),
        isolation=_isolation(environ.get("PYPM_ISOLATION") or configured.get("isolation")),
        indexes=_indexes(overrides),
        login_urls=tuple(text.partition("=")[2] for text in overrides.index) + overrides.find_links,
        resolution=overrides.resolution,
        prerelease=overrides.prerelease,
        exclude_newer=overrides.exclude_newer,
        no_build=overrides.no_build,
        no_binary=overrides.no_binary,
        files=configuration_files(overrides, environ),
    )


def working_folder() -> Path:
    """Return the folder that one stands in.

    Raises: ConfigurationError: it was removed meanwhile.
    """
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise ConfigurationError(
            "the folder that you are in does not exist any more",
            reference="no-working-directory",
            hint="change to one that does, even if it has the same name",
        ) from error


def _require_shown(path: Path, what: str, *, hint: str) -> None:
    """Refuse a folder that no sandbox could show at its place, before anything is downloaded to it.

    Raises: ConfigurationError.
    """
    made = next((top for top in KERNEL_FOLDERS if path.resolve().is_relative_to(top)), None)
    if made is not None:
        raise ConfigurationError(
            f"{what} lies in `{made}`, which every sandbox makes for itself",
            reference="not-shown-in-a-sandbox",
            hint=hint,
        )


def _with_environment(overrides: Overrides, environ: Mapping[str, str]) -> Overrides:
    """Put the variables of the index flags in place of flags that were not given.

    Commands without these flags (`run`, `export`) must ask the same indexes as those that have them.
    """
    return replace(
        overrides,
        default_index=overrides.default_index or environ.get("PYPM_DEFAULT_INDEX"),
        index=overrides.index or tuple(environ.get("PYPM_INDEX", "").split()),
        find_links=overrides.find_links or tuple(environ.get("PYPM_FIND_LINKS", "").split()),
    )


def configuration_files(overrides: Overrides, environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return the files that are read, the weakest first, whether or not they exist."""
    if overrides.no_config:
        return ()
    return (
        system_configuration_file(environ),
        overrides.config_file or user_configuration_file(environ),
    )


def _configured(overrides: Overrides, environ: Mapping[str, str]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for path in configuration_files(overrides, environ):
        with storage_errors(f"read `{path}`"):
            try:
                content = read_regular(path)
            except (FileNotFoundError, NotADirectoryError):
                if path == overrides.config_file:
                    raise UsageError(f"there is no `{path}`", reference="no-such-file") from None
                continue
        joined.update(_checked(parse_toml(content, file_name=str(path)), path))
    return joined


def _checked(table: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    problems = []
    for key, value in table.items():
        if key not in _KEYS:
            problems.append(f"`{key}`: unknown; known are {', '.join(f'`{known}`' for known in _KEYS)}")
        elif not isinstance(value, _KEYS[key]):
            problems.append(f"`{key}`: must be {'true or false' if _KEYS[key] is bool else 'a string'}")
    if problems:
        raise ConfigurationError(
            f"`{path}` is not a configuration of pypm",
            reference="malformed-configuration",
            details=tuple(problems),
        )
    return table


def without_login(url: str) -> str:
    """Return an address without the user name and password in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else url


def _cache(chosen: Path | str | None, environ: Mapping[str, str]) -> Path:
    return cache_home(environ) if chosen is None else Path(chosen).expanduser().absolute()


def _path(chosen: str | None) -> Path | None:
    return Path(chosen).expanduser().absolute() if chosen else None


def _isolation(named: str | None) -> Isolation | None:
    if named is None:
        return None
    from sandbox import Isolation

    try:
        return Isolation(named)
    except ValueError:
        known = ", ".join(f"`{item.value}`" for item in Isolation)
        raise UsageError(
            f"there is no isolation `{named}`; known are {known}", reference="unknown-isolation"
        ) from None


def _indexes(overrides: Overrides) -> tuple[Index, ...]:
    made = []
    for text in overrides.index:
        name, equals, url = text.partition("=")
        if not equals or not url or not name.replace("-", "").replace("_", "").isalnum():
            raise UsageError(
                f"`--index {text}` does not name the index",
                reference="malformed-index",
                hint="write it as `--index NAME=URL`",
            )
        made.append(Index(name=name, url=without_login(url)))
    made += [
        Index(name=f"find-links-{number}", url=without_login(url), flat=True)
        for number, url in enumerate(overrides.find_links, start=1)
    ]
    return tuple(made)

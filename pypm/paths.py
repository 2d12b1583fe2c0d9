"""Where things lie on disk: the cache, configuration files, the project and what stands in it.

`pypm run` calls the `*_folder` functions on its fast path; they work on text, and this module imports nothing
that the interpreter has not loaded already. `pathlib` and `dataclasses` cost more than a warm start may take.
"""

# The linter would have `pathlib` here.
# ruff: noqa: PTH100, PTH111, PTH113, PTH116, PTH117, PTH118, PTH120

from __future__ import annotations

import os.path
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROJECT_FILE = "pyproject.toml"
LOCK_FILE = "pypm.lock"
SIGNATURE_FILE = "pypm.lock.sig"
ENVIRONMENT_FOLDER = ".venv"
CONFIGURATION_FILE = "pypm.toml"
KERNEL_FOLDERS = ("/proc", "/sys", "/dev")
"""Mounted by every sandbox for itself; the host's own would show the host's processes and devices."""


def cache_folder(environ: Mapping[str, str]) -> str:
    """Return the cache's root as absolute text: `PYPM_CACHE_DIR`, else the platform's place for caches."""
    if chosen := environ.get("PYPM_CACHE_DIR"):
        return os.path.abspath(os.path.expanduser(chosen))
    if base := _absolute(environ, "XDG_CACHE_HOME"):
        return os.path.join(base, "pypm")
    if sys.platform == "win32":
        base = _absolute(environ, "LOCALAPPDATA") or os.path.join(_home(environ), "AppData", "Local")
        return os.path.join(base, "pypm", "Cache")
    if sys.platform == "darwin":
        return os.path.join(_home(environ), "Library", "Caches", "pypm")
    return os.path.join(_home(environ), ".cache", "pypm")


def project_folder(start: str) -> str | None:
    """Return the nearest folder from `start` upward that holds a `pyproject.toml`, as absolute text."""
    folder = os.path.abspath(start)
    while True:
        if os.path.isfile(os.path.join(folder, PROJECT_FILE)):
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def is_foreign(root: str, start: str) -> bool:
    """Whether the project in `root`, found from the folder `start` upward, was put there by another user.

    In a folder that everybody may write to, such as `/tmp`, somebody else's project would be found by whoever
    works below it, and its programs would see the files there. Where the folder that one stands in is that
    user's as well, one went there on purpose.
    """
    if not hasattr(os, "geteuid"):
        return False
    try:
        # Not what a link leads to: whoever made the link chose the folder.
        owner = os.lstat(os.path.join(root, PROJECT_FILE)).st_uid
        return owner not in (0, os.geteuid()) and owner != os.stat(start).st_uid
    except OSError:
        return True


def cache_home(environ: Mapping[str, str]) -> Path:
    """Return the cache's root: see `cache_folder`."""
    return _path(cache_folder(environ))


def find_project_root(start: Path) -> Path | None:
    """Return the nearest folder from `start` upward that holds a `pyproject.toml`, or None."""
    folder = project_folder(os.fspath(start))
    return None if folder is None else _path(folder)


def user_configuration_file(environ: Mapping[str, str]) -> Path:
    """Return where the user's `pypm.toml` lies, whether or not it exists."""
    if base := _absolute(environ, "XDG_CONFIG_HOME"):
        return _path(base, "pypm", CONFIGURATION_FILE)
    if sys.platform == "win32":
        base = _absolute(environ, "APPDATA") or os.path.join(_home(environ), "AppData", "Roaming")
        return _path(base, "pypm", CONFIGURATION_FILE)
    return _path(_home(environ), ".config", "pypm", CONFIGURATION_FILE)


def system_configuration_file(environ: Mapping[str, str]) -> Path:
    """Return where the machine's `pypm.toml` lies, whether or not it exists."""
    if sys.platform == "win32":
        return _path(_absolute(environ, "PROGRAMDATA") or r"C:\ProgramData", "pypm", CONFIGURATION_FILE)
    return _path("/etc", "pypm", CONFIGURATION_FILE)


def project_file(root: Path) -> Path:
    """Return the project's `pyproject.toml`."""
    return root / PROJECT_FILE


def lock_file(root: Path) -> Path:
    """Return the project's lock."""
    return root / LOCK_FILE


def signature_file(root: Path) -> Path:
    """Return the detached signature of the project's lock."""
    return root / SIGNATURE_FILE


def environment_folder(root: Path) -> Path:
    """Return the project's environment: the same path inside the sandbox and outside."""
    return root / ENVIRONMENT_FOLDER


class Cache:
    """The folders below the cache's root. A bucket with a version in its name may be removed by any pypm."""

    __slots__ = ("root",)

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def wheels(self) -> Path:
        """Downloaded archives: `<sha256[:2]>/<sha256>/<file name>`."""
        return self.root / "wheels"

    @property
    def store(self) -> Path:
        """Unpacked, read-only trees, one for each wheel and Python tag."""
        return self.root / "store-v1"

    @property
    def index(self) -> Path:
        """Answers of indexes and metadata, revalidated before use."""
        return self.root / "index-v1"

    @property
    def builds(self) -> Path:
        """Wheels that were built from source distributions."""
        return self.root / "builds-v1"

    @property
    def repositories(self) -> Path:
        """Commits of git repositories: `<repository>/<commit>`."""
        return self.root / "git-v1"

    @property
    def environments(self) -> Path:
        """Generated layers: what an environment has beside its wheels' files."""
        return self.root / "environments-v1"

    @property
    def plans(self) -> Path:
        """Ready run plans for the fast path."""
        return self.root / "plans-v1"

    @property
    def interpreters(self) -> Path:
        """What interpreters said about themselves."""
        return self.root / "interpreters-v1"

    @property
    def hosts(self) -> Path:
        """What this machine can enforce, asked once a boot."""
        return self.root / "hosts-v1"

    @property
    def scripts(self) -> Path:
        """What the requirements of scripts (PEP 723) were resolved to."""
        return self.root / "scripts-v1"

    @property
    def plugins(self) -> Path:
        """What plugins said about themselves, those that were built here, and what each has let pass."""
        return self.root / "plugins-v1"

    @property
    def scratch(self) -> Path:
        """Temporary folders; on the store's file system, so that a finished tree is one rename away."""
        return self.root / "scratch"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cache) and self.root == other.root

    def __hash__(self) -> int:
        return hash(self.root)

    def __repr__(self) -> str:
        return f"Cache(root={self.root!r})"


def _home(environ: Mapping[str, str]) -> str:
    name = "USERPROFILE" if sys.platform == "win32" else "HOME"
    return _absolute(environ, name) or os.path.abspath(os.path.expanduser("~"))


def _absolute(environ: Mapping[str, str], name: str) -> str | None:
    """The XDG specification has relative paths ignored: they would depend on where one stands."""
    value = environ.get(name)
    return value if value and os.path.isabs(value) else None


def _path(*parts: str) -> Path:
    from pathlib import Path

    return Path(*parts)
